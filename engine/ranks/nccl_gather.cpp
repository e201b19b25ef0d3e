// NCCL by its functions' names, with as much of its interface (version 2) as they need; its
// documentation: docs.nvidia.com/deeplearning/nccl, "NCCL API".
#include <cstdlib>
#include <string_view>
#include <utility>

#include "engine/base/error.h"
#include "engine/device/plugin_device.h"
#include "engine/ranks/device_gather.h"
#include "engine/ranks/opened_library.h"
#include "engine/ranks/standing.h"

namespace perilune {
namespace {

constexpr const char* kLibrary = "libnccl.so.2";
constexpr int kSuccess = 0;  // ncclSuccess
constexpr int kBytes = 1;    // ncclUint8

struct UniqueId {  // ncclUniqueId, passed by value
  char bytes[128];
};

struct Library {
  int (*version)(int*);
  int (*unique_id)(UniqueId*);
  int (*join)(void** communicator, int ranks, UniqueId id, int rank);
  int (*all_gather)(const void* part, void* all, std::size_t count, int type, void* communicator,
                    void* stream);
  int (*leave)(void* communicator);
  int (*abandon)(void* communicator);
  const char* (*error_text)(int);
  std::string name;
};

/// "" or why it cannot be used.
std::string open_library(Library& library) {
  OpenedLibrary opened(kLibrary, false);
  opened.bind(library.version, "ncclGetVersion");
  opened.bind(library.unique_id, "ncclGetUniqueId");
  opened.bind(library.join, "ncclCommInitRank");
  opened.bind(library.all_gather, "ncclAllGather");
  opened.bind(library.leave, "ncclCommDestroy");
  opened.bind(library.abandon, "ncclCommAbort");
  opened.bind(library.error_text, "ncclGetErrorString");
  if (!opened.problem().empty()) return std::string(kLibrary) + " " + opened.problem();
  int number = 0;
  const int status = library.version(&number);
  if (status != kSuccess) return std::string(kLibrary) + ": " + library.error_text(status);
  library.name = "NCCL " + std::to_string(number / 10000) + "." +
                 std::to_string(number / 100 % 100) + "." + std::to_string(number % 100);
  return "";
}

/// Whether all ranks can; else the first one's reason.
bool all_can(Communicator& ranks, const std::string& problem, std::string& why_not) {
  const FailedRank failed = find_failed(ranks, problem);
  if (failed.rank >= 0) why_not = failed.what + " (rank " + std::to_string(failed.rank) + ")";
  return failed.rank < 0;
}

class NcclGather final : public DeviceGather {
 public:
  NcclGather(Library library, std::shared_ptr<PluginDevice> device)
      : library_(std::move(library)), device_(std::move(device)) {}
  ~NcclGather() override { end(library_.leave); }
  NcclGather(const NcclGather&) = delete;
  NcclGather& operator=(const NcclGather&) = delete;

  const std::string& name() const override { return library_.name; }

  /// "" or what failed.
  std::string join(int ranks, const UniqueId& id, int rank) {
    int status = kSuccess;
    try {
      device_->on_stream([&](void*) { status = library_.join(&communicator_, ranks, id, rank); });
    } catch (const Error& error) {  // all ranks are told, as of any other reason
      return error.what();
    }
    return status == kSuccess ? "" : failure(status);
  }

  void all_gather(const void* part, std::size_t bytes, void* all) override {
    int status = kSuccess;
    device_->on_stream([&](void* stream) {
      status = library_.all_gather(part, all, bytes, kBytes, communicator_, stream);
    });
    if (status != kSuccess) throw Error(ErrorCode::device, "ranks", failure(status));
  }

  void abandon() noexcept override { end(library_.abandon); }

 private:
  std::string failure(int status) const {
    return library_.name + " on " + device_->name() + ": " + library_.error_text(status);
  }

  void end(int (*how)(void*)) noexcept {
    void* const communicator = std::exchange(communicator_, nullptr);
    if (communicator == nullptr) return;
    try {
      device_->on_stream([&](void*) { how(communicator); });
    } catch (const std::exception&) {  // the device has failed: there is nothing to end
    }
  }

  Library library_;
  std::shared_ptr<PluginDevice> device_;
  void* communicator_ = nullptr;
};

bool switched_off() {
  const char* value = std::getenv("PERILUNE_NCCL");
  return value != nullptr && std::string_view(value) == "off";
}

}  // namespace

std::unique_ptr<DeviceGather> join_devices(Communicator& ranks,
                                           const std::shared_ptr<Device>& device,
                                           std::string& why_not) {
  Library library{};
  const auto gpu = std::dynamic_pointer_cast<PluginDevice>(device);
  std::string problem;
  if (gpu == nullptr || gpu->kind() != DeviceKind::cuda) {
    problem = device->name() + " is no GPU";
  } else if (switched_off()) {
    problem = "PERILUNE_NCCL=off";
  } else {
    problem = open_library(library);
  }
  UniqueId id{};
  if (problem.empty() && ranks.rank() == 0) {
    const int status = library.unique_id(&id);
    if (status != kSuccess) problem = library.error_text(status);
  }
  if (!all_can(ranks, problem, why_not)) return nullptr;
  ranks.broadcast(&id, sizeof id, false);
  auto gather = std::make_unique<NcclGather>(std::move(library), gpu);
  if (all_can(ranks, gather->join(ranks.size(), id, ranks.rank()), why_not)) return gather;
  gather->abandon();
  return nullptr;
}

}  // namespace perilune
