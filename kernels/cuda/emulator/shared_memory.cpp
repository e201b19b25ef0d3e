#include "kernels/cuda/emulator/shared_memory.h"

#include <algorithm>

namespace perilune::kernels::cuda::emulator {
namespace {

constexpr std::byte kPoison{0xff};  // a NaN in every float format

/// Whether two accesses of different threads have no barrier between them; `now` is the later one.
bool unordered(const AccessStamp& before, const AccessStamp& now) {
  if (before.thread < 0 || before.thread == now.thread || before.epoch != now.epoch) return false;
  return before.thread / 32 != now.thread / 32 || before.warp_epoch == now.warp_epoch;
}

std::string race(const char* what, const AccessStamp& before, const AccessStamp& now) {
  return std::string(what) + " by thread " + std::to_string(now.thread) + " and thread " +
         std::to_string(before.thread) + " with no barrier between";
}

}  // namespace

void SharedMemory::begin_block() {
  std::fill(bytes_.begin(), bytes_.end(), kPoison);
  std::fill(shadow_.begin(), shadow_.end(), Byte{});
}

bool SharedMemory::may_read(const Byte& byte, const AccessStamp& stamp) {
  if (byte.pending) return fault("read before the copy to it was waited for");
  if (!byte.written) return fault("read before anything was written there");
  if (!unordered(byte.writer, stamp)) return true;
  return fault(race("race: written and read", byte.writer, stamp));
}

bool SharedMemory::may_write(std::size_t at, std::size_t count, const AccessStamp& stamp) {
  for (std::size_t i = at; i < at + count; ++i) {
    Byte& byte = shadow_[i];
    if (byte.pending) return fault("written while a copy to it is under way");
    if (unordered(byte.writer, stamp)) {
      return fault(race("race: written twice", byte.writer, stamp));
    }
    if (unordered(byte.reader, stamp)) {
      return fault(race("race: read and written", byte.reader, stamp));
    }
    if (byte.several_readers && byte.reader.epoch == stamp.epoch &&
        byte.reader.warp_epoch == stamp.warp_epoch) {
      return fault("race: written by thread " + std::to_string(stamp.thread) +
                   " after other threads read it, with no barrier between");
    }
    byte.writer = stamp;
    byte.written = true;
  }
  return true;
}

bool SharedMemory::write(std::size_t at, const void* from, std::size_t count,
                         const AccessStamp& stamp) {
  if (!may_write(at, count, stamp)) return false;
  std::memcpy(bytes_.data() + at, from, count);
  return true;
}

bool SharedMemory::begin_copy(std::size_t at, std::size_t count, const AccessStamp& stamp) {
  if (!may_write(at, count, stamp)) return false;
  std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at), count, kPoison);
  for (std::size_t i = at; i < at + count; ++i) shadow_[i].pending = true;
  return true;
}

void SharedMemory::finish_copy(const AsyncCopy& copy, const AccessStamp& stamp) {
  for (std::size_t i = copy.to; i < copy.to + copy.filled; ++i) {
    shadow_[i].pending = false;
    shadow_[i].writer = stamp;
  }
  std::byte* to = bytes_.data() + copy.to;
  if (copy.bytes != 0) std::memcpy(to, copy.from, copy.bytes);
  std::fill_n(to + copy.bytes, copy.filled - copy.bytes, std::byte{0});
}

}  // namespace perilune::kernels::cuda::emulator
