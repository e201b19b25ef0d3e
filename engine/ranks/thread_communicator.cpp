// Ranks as threads of one process: parts are handed over through memory that all see.
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "engine/base/error.h"
#include "engine/ranks/communicator.h"

namespace perilune {
namespace {

/// Where the threads meet. Every exchange has two meetings: all parts are there, all were read.
class Meeting {
 public:
  explicit Meeting(int size) : parts_(static_cast<std::size_t>(size), nullptr) {}

  std::size_t size() const { return parts_.size(); }
  const void* part(std::size_t rank) const { return parts_[rank]; }
  void lay_out(std::size_t rank, const void* part) {
    const std::lock_guard lock(mutex_);
    parts_[rank] = part;
  }
  void wait_for_all() {
    std::unique_lock lock(mutex_);
    const std::uint64_t turn = turn_;
    if (++arrived_ == parts_.size()) {
      arrived_ = 0;
      ++turn_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return turn_ != turn || !ended_.empty(); });
    if (turn_ == turn) throw Error(ErrorCode::device, "ranks", ended_);
  }
  void end(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (ended_.empty()) ended_ = reason;
    changed_.notify_all();
  }
  void expect_all() {
    const std::lock_guard lock(mutex_);
    if (!ended_.empty()) throw Error(ErrorCode::device, "ranks", ended_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<const void*> parts_;
  std::size_t arrived_ = 0;
  std::uint64_t turn_ = 0;
  std::string ended_;  // why; "" while all go on
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Meeting> meeting, int rank)
      : meeting_(std::move(meeting)), rank_(rank) {}
  ~ThreadCommunicator() override {
    if (!finished_) end_all("it left");
  }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(meeting_->size()); }

  void all_gather(const void* part, std::size_t bytes, void* all) override {
    exchange(part, [&] {
      for (std::size_t r = 0; r < meeting_->size(); ++r) {
        std::memcpy(static_cast<char*>(all) + r * bytes, meeting_->part(r), bytes);
      }
    });
  }

  void broadcast(void* data, std::size_t bytes, bool /*idle*/) override {
    exchange(data, [&] {
      if (rank_ != 0) std::memcpy(data, meeting_->part(0), bytes);
    });
  }

  void end_all(const std::string& reason) noexcept override {
    meeting_->end("rank " + std::to_string(rank_) + " has ended: " + reason);
  }

  void finish() noexcept override { finished_ = true; }

 private:
  template <class Read>
  void exchange(const void* part, const Read& read) {
    meeting_->expect_all();
    meeting_->lay_out(static_cast<std::size_t>(rank_), part);
    meeting_->wait_for_all();
    read();
    meeting_->wait_for_all();
  }

  std::shared_ptr<Meeting> meeting_;
  int rank_;
  bool finished_ = false;
};

}  // namespace

std::vector<std::shared_ptr<Communicator>> thread_communicators(int size) {
  const auto meeting = std::make_shared<Meeting>(size);
  std::vector<std::shared_ptr<Communicator>> ends;
  ends.reserve(static_cast<std::size_t>(size));
  for (int rank = 0; rank < size; ++rank) {
    ends.push_back(std::make_shared<ThreadCommunicator>(meeting, rank));
  }
  return ends;
}

}  // namespace perilune
