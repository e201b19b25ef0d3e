#include "kernels/cuda/pinned_ring.h"

#include <algorithm>
#include <cstring>

namespace perilune::kernels::cuda {

int PinnedRing::begin(PluginError& error) {
  if (memory_ != nullptr || refused_) return kPluginDone;
  void* pinned = nullptr;
  int status = backend::allocate_host(slots_.size() * kSlotBytes, &pinned, error);
  if (status == kPluginPoisoned) return status;
  refused_ = status != kPluginDone;
  if (refused_) return kPluginDone;
  memory_ = static_cast<unsigned char*>(pinned);
  for (Slot& slot : slots_) {
    status = backend::make_event(&slot.event, error);
    slot.made = status == kPluginDone;
    if (slot.made) continue;
    release_locked();
    refused_ = true;
    return status == kPluginPoisoned ? status : kPluginDone;
  }
  return kPluginDone;
}

/// The slot is full: its event is the end of the copies out of it.
int PinnedRing::next_slot(void* stream, PluginError& error) {
  int status = backend::record(stream, slots_[slot_].event, error);
  if (status != kPluginDone) return status;
  slots_[slot_].waits = true;
  slot_ = (slot_ + 1) % slots_.size();
  used_ = 0;
  if (slots_[slot_].waits) status = backend::wait(slots_[slot_].event, error);
  slots_[slot_].waits = false;
  return status;
}

int PinnedRing::copy_in(void* stream, void* to, const void* host, std::size_t bytes,
                        PluginError& error) {
  const std::lock_guard lock(mutex_);
  int status = begin(error);
  if (status != kPluginDone) return status;
  if (refused_) {
    status = backend::copy_in(stream, to, host, bytes, error);
    return status != kPluginDone ? status : backend::synchronize(stream, error);
  }
  for (std::size_t done = 0; done < bytes;) {
    if (used_ == kSlotBytes || (used_ > 0 && bytes - done > kSlotBytes - used_)) {
      status = next_slot(stream, error);
      if (status != kPluginDone) return status;
    }
    const std::size_t piece = std::min(bytes - done, kSlotBytes - used_);
    unsigned char* const pinned = memory_ + slot_ * kSlotBytes + used_;
    std::memcpy(pinned, static_cast<const unsigned char*>(host) + done, piece);
    status = backend::copy_in(stream, static_cast<unsigned char*>(to) + done, pinned, piece, error);
    if (status != kPluginDone) return status;
    done += piece;
    used_ = std::min(kSlotBytes, (used_ + piece + kAlignment - 1) / kAlignment * kAlignment);
  }
  return kPluginDone;
}

void PinnedRing::release() {
  const std::lock_guard lock(mutex_);
  release_locked();
}

void PinnedRing::release_locked() {
  for (Slot& slot : slots_) {
    if (slot.made) backend::free_event(slot.event);
    slot = {};
  }
  if (memory_ != nullptr) backend::release_host(memory_);
  memory_ = nullptr;
  slot_ = used_ = 0;
}

}  // namespace perilune::kernels::cuda
