// The order of a device's work, and its first failure.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace perilune::kernels::cuda {

class Graph;

/// What `Launch::stream` points to. One host thread at a time starts kernels; how the device is may
/// be asked, and found out, by another.
struct Stream {
  void* handle = nullptr;                 // cudaStream_t; null in the emulator
  std::atomic<std::int64_t> launches{0};  // kernels started
  std::atomic<int> status{0};             // of the first failure; 0: none
  char message[512] = {};                 // what failed; written once, before `status`
  std::atomic<const char*> last{""};      // the kernel started last
  /// Gives cached device memory back: the first start of a kernel needs some for its code.
  void (*make_room)(void* owner) = nullptr;
  void* owner = nullptr;
  void* context = nullptr;  // what a thread works on while it starts kernels
  char refusal[512] = {};   // a start that was refused, until it is told; the device is well
  std::mutex mutex;         // of message and refusal
  Graph* graph = nullptr;   // of the thread that records: its work goes there instead of starting
  std::atomic<std::thread::id> recorder{};
  /// Kernels that were allowed more shared memory than is given without asking, and how much.
  std::vector<std::pair<const void*, std::size_t>> allowed;

  /// What the calling thread records; null: its work starts as it comes.
  Graph* recording() const {
    return recorder.load() == std::this_thread::get_id() ? graph : nullptr;
  }
  /// False: another thread records.
  bool start_recording(Graph& into) {
    std::thread::id nobody;
    if (!recorder.compare_exchange_strong(nobody, std::this_thread::get_id())) return false;
    graph = &into;
    return true;
  }
  /// What the calling thread recorded until now; null: nothing.
  Graph* stop_recording() {
    Graph* const recorded = recording();
    if (recorded == nullptr) return nullptr;
    graph = nullptr;
    recorder = std::thread::id();
    return recorded;
  }

  /// Whether a kernel still has to be allowed so much, which is then noted.
  bool must_allow(const void* kernel, std::size_t bytes) {
    const auto known = std::find_if(allowed.begin(), allowed.end(),
                                    [&](const auto& entry) { return entry.first == kernel; });
    if (known != allowed.end() && known->second >= bytes) return false;
    if (known == allowed.end()) {
      allowed.emplace_back(kernel, bytes);
    } else {
      known->second = bytes;
    }
    return true;
  }
};

/// Keeps the first failure.
inline void record_failure(Stream& stream, int status, const char* what) {
  const std::lock_guard lock(stream.mutex);
  if (stream.status != 0) return;
  std::snprintf(stream.message, sizeof stream.message, "%s", what);
  stream.status = status;
}

/// Keeps the first start that was refused: wrong arguments, no fault of the device.
inline void record_refusal(Stream& stream, const char* what) {
  const std::lock_guard lock(stream.mutex);
  if (stream.refusal[0] != '\0') return;
  std::snprintf(stream.refusal, sizeof stream.refusal, "%s", what);
}

}  // namespace perilune::kernels::cuda
