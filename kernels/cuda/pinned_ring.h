// Pinned host memory by way of which bytes reach a device: the caller's own may go as soon as a
// copy has begun, and the copy runs beside the host's work.
#pragma once

#include <array>
#include <cstddef>
#include <mutex>

#include "kernels/cuda/backend.h"

namespace perilune::kernels::cuda {

/// Slots used in turn; one that comes round again waits for the copies out of it. Takes its memory
/// with the first copy. Thread-safe; the device must be current.
class PinnedRing {
 public:
  PinnedRing() = default;
  PinnedRing(const PinnedRing&) = delete;
  PinnedRing& operator=(const PinnedRing&) = delete;

  /// `host` has been read when it returns. Without pinned memory it waits for the copy.
  int copy_in(void* stream, void* to, const void* host, std::size_t bytes, PluginError& error);
  /// Gives the memory back; no copy is in flight.
  void release();

 private:
  struct Slot {
    void* event = nullptr;  // the last copy out of it
    bool made = false, waits = false;
  };
  static constexpr std::size_t kSlotBytes = std::size_t{1} << 20, kAlignment = 256;

  int begin(PluginError& error);
  void release_locked();
  int next_slot(void* stream, PluginError& error);

  std::mutex mutex_;
  unsigned char* memory_ = nullptr;
  bool refused_ = false;  // no pinned memory
  std::array<Slot, 4> slots_;
  std::size_t slot_ = 0, used_ = 0;  // the slot being filled
};

}  // namespace perilune::kernels::cuda
