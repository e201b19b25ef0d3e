// Open MPI, opened when a program was started by mpirun and never linked: its functions by name,
// and as much of its interface (version 4, libmpi.so.40) as they need. Handles are pointers to
// objects that the library exports.
#include <algorithm>
#include <chrono>
#include <climits>
#include <thread>

#include "engine/base/error.h"
#include "engine/ranks/communicator.h"
#include "engine/ranks/opened_library.h"
#include "engine/ranks/peer_watch.h"

namespace perilune {
namespace {

constexpr const char* kLibrary = "libmpi.so.40";
constexpr int kSerialized = 2;  // MPI_THREAD_SERIALIZED
constexpr int kSuccess = 0;

using Handle = void*;

struct Library {
  int (*init_thread)(int*, char***, int, int*);
  int (*comm_rank)(Handle, int*);
  int (*comm_size)(Handle, int*);
  int (*comm_set_errhandler)(Handle, Handle);
  int (*iallgather)(const void*, int, Handle, void*, int, Handle, Handle, Handle*);
  int (*ibcast)(void*, int, Handle, int, Handle, Handle*);
  int (*test)(Handle*, int*, void*);
  int (*error_string)(int, char*, int*);
  int (*end)(Handle, int);
  int (*finalize)();
  Handle world, byte, errors_return;
};

Library open_library() {
  OpenedLibrary opened(kLibrary, true);
  Library library{};
  opened.bind(library.init_thread, "MPI_Init_thread");
  opened.bind(library.comm_rank, "MPI_Comm_rank");
  opened.bind(library.comm_size, "MPI_Comm_size");
  opened.bind(library.comm_set_errhandler, "MPI_Comm_set_errhandler");
  opened.bind(library.iallgather, "MPI_Iallgather");
  opened.bind(library.ibcast, "MPI_Ibcast");
  opened.bind(library.test, "MPI_Test");
  opened.bind(library.error_string, "MPI_Error_string");
  opened.bind(library.end, "MPI_Abort");
  opened.bind(library.finalize, "MPI_Finalize");
  library.world = opened.find("ompi_mpi_comm_world");
  library.byte = opened.find("ompi_mpi_byte");
  library.errors_return = opened.find("ompi_mpi_errors_return");
  if (opened.problem().empty()) return library;
  throw Error(
      ErrorCode::device, "ranks",
      "several ranks need Open MPI 4 (" + std::string(kLibrary) + "), which " + opened.problem())
      .hint(
          "Debian has it as libopenmpi3, with mpirun in openmpi-bin; PERILUNE_RANKS=off runs every "
          "process by itself");
}

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(std::function<void(const std::string&)> on_death)
      : library_(open_library()), on_death_(std::move(on_death)) {
    int provided = 0;
    expect(library_.init_thread(nullptr, nullptr, kSerialized, &provided), "MPI_Init_thread");
    expect(library_.comm_set_errhandler(library_.world, library_.errors_return), "errors");
    expect(library_.comm_rank(library_.world, &rank_), "MPI_Comm_rank");
    expect(library_.comm_size(library_.world, &size_), "MPI_Comm_size");
    const Peer own = Peer::own();
    std::vector<Peer> peers(static_cast<std::size_t>(size_));
    all_gather(&own, sizeof own, peers.data());
    watch_ = std::make_unique<PeerWatch>(peers, rank_);
  }
  ~MpiCommunicator() override { finish(); }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_gather(const void* part, std::size_t bytes, void* all) override {
    if (broken_) expect_alive();
    Handle request = nullptr;
    const int count = as_count(bytes);
    expect(library_.iallgather(part, count, library_.byte, all, count, library_.byte,
                               library_.world, &request),
           "MPI_Iallgather");
    wait(request, false);
  }

  void broadcast(void* data, std::size_t bytes, bool idle) override {
    if (broken_) expect_alive();
    for (std::size_t at = 0; at < bytes || at == 0;) {
      const std::size_t part = std::min<std::size_t>(bytes - at, std::size_t{1} << 30);
      Handle request = nullptr;
      expect(library_.ibcast(static_cast<char*>(data) + at, as_count(part), library_.byte, 0,
                             library_.world, &request),
             "MPI_Ibcast");
      wait(request, idle);
      at += part;
      if (part == 0) break;
    }
  }

  void end_all(const std::string& /*reason*/) noexcept override { library_.end(library_.world, 1); }

  void finish() noexcept override {
    if (finished_) return;
    finished_ = true;
    if (!broken_) library_.finalize();  // which waits for all
  }

 private:
  int as_count(std::size_t bytes) const {
    if (bytes <= INT_MAX) return static_cast<int>(bytes);
    throw Error(ErrorCode::unsupported, "ranks",
                "a part of " + std::to_string(bytes) + " bytes, one message takes 2147483647")
        .hint("let a step hold fewer tokens");
  }

  void expect(int status, const char* call) const {
    if (status == kSuccess) return;
    char text[512] = "";
    int length = 0;
    library_.error_string(status, text, &length);
    throw Error(ErrorCode::device, "ranks",
                "rank " + std::to_string(rank_) + ": " + call + " failed: " + text);
  }

  /// Looks often at first; where the others may be at other work for long, seldom after a while.
  void wait(Handle& request, bool idle) {
    using Clock = std::chrono::steady_clock;
    constexpr std::chrono::microseconds kEager(200), kBusy(5000);
    const auto begin = Clock::now();
    for (int done = 0;;) {
      expect(library_.test(&request, &done, nullptr), "MPI_Test");
      if (done != 0) return;
      const auto waited = Clock::now() - begin;
      if (waited < kEager) continue;
      if (waited < kBusy) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(idle ? 1000 : 50));
        expect_alive();
      }
    }
  }

  void expect_alive() {
    const std::string dead = watch_ == nullptr ? "" : watch_->dead();
    if (dead.empty()) return;
    if (!broken_ && on_death_) on_death_(dead);
    broken_ = true;
    throw Error(ErrorCode::device, "ranks", dead).hint("all ranks must be started again");
  }

  Library library_;
  std::function<void(const std::string&)> on_death_;
  std::unique_ptr<PeerWatch> watch_;
  int rank_ = 0, size_ = 1;
  bool finished_ = false;
  bool broken_ = false;  // a rank has died: nothing more is sent
};

}  // namespace

std::shared_ptr<Communicator> mpi_communicator(
    std::function<void(const std::string& who)> on_death) {
  return std::make_shared<MpiCommunicator>(std::move(on_death));
}

}  // namespace perilune
