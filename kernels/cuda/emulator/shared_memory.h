// A block's shared memory, with what is known of every byte: whether it was written, who touched it
// last and when, whether a copy to it is still under way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
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

  /// Each gives "" or what is wrong with the access. `what` says read or write.
  std::string read(void* to, std::size_t at, std::size_t count, const AccessStamp& stamp);
  std::string write(std::size_t at, const void* from, std::size_t count, const AccessStamp& stamp);
  /// Marks bytes as the target of a copy under way.
  std::string begin_copy(std::size_t at, std::size_t count, const AccessStamp& stamp);
  std::string finish_copy(const AsyncCopy& copy, const AccessStamp& stamp);

 private:
  struct Byte {
    AccessStamp writer, reader;
    bool several_readers = false;  // of reader's epoch
    bool written = false, pending = false;
  };
  std::string check_write(std::size_t at, std::size_t count, const AccessStamp& stamp);

  std::vector<std::byte> bytes_;
  std::vector<Byte> shadow_;
};

}  // namespace perilune::kernels::cuda::emulator
