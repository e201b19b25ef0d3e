// A block's shared memory, with what is known of every byte: whether it was written, who touched it
// last and when, whether a copy to it is still under way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace perilune::kernels::cuda::emulator {

/// When an access happened. Barriers of the block raise `epoch`, those of the warp `warp_epoch`.
struct AccessStamp {
  std::int32_t thread = -1;
  std::uint32_t epoch = 0, warp_epoch = 0;
};

/// cp.async: bytes that arrive when their group is waited for.
struct AsyncCopy {
  std::size_t to;
  const void* from;
  std::size_t bytes;  // the rest up to `filled` is zeros
  std::size_t filled;
  std::uint32_t group;
};

class SharedMemory {
 public:
  /// Between arrays, so that a small overrun meets no neighbour.
  static constexpr std::size_t kRedzone = 32;

  explicit SharedMemory(std::size_t bytes) : bytes_(bytes), shadow_(bytes) {}
  std::size_t size() const { return bytes_.size(); }
  /// All bytes become poison again.
  void begin_block();

  /// False when the access is wrong; problem() says how. Bytes [at, at + count) are there.
  bool read(void* to, std::size_t at, std::size_t count, const AccessStamp& stamp) {
    for (std::size_t i = at; i < at + count; ++i) {
      Byte& byte = shadow_[i];
      const bool own = byte.writer.thread == stamp.thread || byte.writer.epoch != stamp.epoch;
      if (!byte.written || byte.pending || !own) {
        if (!may_read(byte, stamp)) return false;
      }
      note_reader(byte, stamp);
    }
    std::memcpy(to, bytes_.data() + at, count);
    return true;
  }
  bool write(std::size_t at, const void* from, std::size_t count, const AccessStamp& stamp);
  /// Marks bytes as the target of a copy under way.
  bool begin_copy(std::size_t at, std::size_t count, const AccessStamp& stamp);
  void finish_copy(const AsyncCopy& copy, const AccessStamp& stamp);
  const std::string& problem() const { return problem_; }

 private:
  struct Byte {
    AccessStamp writer, reader;
    bool several_readers = false;  // of reader's epoch
    bool written = false, pending = false;
  };
  static void note_reader(Byte& byte, const AccessStamp& stamp) {
    if (byte.reader.thread != stamp.thread || byte.reader.epoch != stamp.epoch) {
      byte.several_readers = byte.reader.thread >= 0 && byte.reader.thread != stamp.thread &&
                             byte.reader.epoch == stamp.epoch;
    }
    byte.reader = stamp;
  }
  bool may_read(const Byte& byte, const AccessStamp& stamp);
  bool may_write(std::size_t at, std::size_t count, const AccessStamp& stamp);
  bool fault(std::string text) {
    problem_ = std::move(text);
    return false;
  }

  std::vector<std::byte> bytes_;
  std::vector<Byte> shadow_;
  std::string problem_;
};

}  // namespace perilune::kernels::cuda::emulator
