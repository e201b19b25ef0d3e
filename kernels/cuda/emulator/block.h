// One running block: its threads as fibers, its barriers, the collectives of its warps, its shared
// memory. All state belongs to the operating-system thread that runs the launch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/emulator/fiber.h"
#include "kernels/cuda/emulator/index.h"
#include "kernels/cuda/emulator/shared_memory.h"

namespace perilune::kernels::cuda::emulator {

/// What a warp does together. Lanes bring up to twelve words and take away up to four.
enum class Collective : std::uint8_t {
  none,
  syncwarp,
  shuffle,
  shuffle_up,
  shuffle_down,
  shuffle_xor,
  ballot,
  any,
  all,
  add,
  minimum,
  maximum,
  minimum_signed,
  maximum_signed,
  load_matrix,
  load_matrix_transposed,
  transpose,
  mma_bf16,
  mma_f16,
  mma_int8
};
const char* collective_name(Collective kind);

enum class ThreadState : std::uint8_t { fresh, ready, barrier, warp, ended };

struct Thread {
  uint3 index{};
  int number = 0;  // x fastest, then y, then z
  ThreadState state = ThreadState::fresh;
  Fiber fiber;
  std::unique_ptr<Stack> stack;
  Collective collective = Collective::none;
  unsigned mask = 0;
  std::uint32_t in[12] = {};
  std::uint32_t out[4] = {};
  std::vector<AsyncCopy> copies;  // cp.async, oldest first
  std::uint32_t groups = 0;       // committed so far

  int warp() const { return number / 32; }
  int lane() const { return number % 32; }
};

class Block {
 public:
  Block(const char* kernel, dim3 grid, dim3 size, std::size_t shared_bytes);
  /// Runs one block of the grid; false when a fault was found.
  bool run(uint3 index, const std::function<void()>& kernel);
  const std::string& fault() const { return fault_; }

  // What kernels call, through the functions of cuda.h and ptx.h.
  Thread& thread() { return *current_; }
  uint3 index() const { return index_; }
  dim3 size() const { return size_; }
  dim3 grid() const { return grid_; }
  SharedMemory& shared() { return shared_; }
  void barrier();
  /// Waits for the lanes of `mask`; `in` is set, `out` is read afterwards.
  void collective(Collective kind, unsigned mask);
  /// Ends the launch with this fault. Does not return.
  [[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 2, 3)));
  /// Order of this thread's accesses against others': see SharedMemory.
  AccessStamp stamp() const {
    return {current_->number, epoch_, warp_epochs_[static_cast<std::size_t>(current_->warp())]};
  }

  static Block& current();

 private:
  static void thread_main();
  void resume(Thread& thread);
  void wait();
  bool step();
  void release_barrier();
  void explain_deadlock();
  void join(Thread& thread);
  void set_fault(const Thread& thread, const std::string& text);

  const char* kernel_;
  dim3 grid_, size_;
  uint3 index_{};
  SharedMemory shared_;
  std::vector<Thread> threads_;
  std::vector<int> order_;
  Fiber scheduler_;
  Thread* current_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  std::uint32_t epoch_ = 0;
  std::vector<std::uint32_t> warp_epochs_;
  std::string fault_;
  bool abandoned_ = false;
  std::string problem_;  // kept here, since a fiber that fails is left as it stands
};

/// Results of a collective whose lanes have all arrived: fills `out` of the lanes of `mask`, which
/// are warp[0..31] (null where the block has no such thread). Empty, or what is wrong.
std::string resolve(Collective kind, unsigned mask, Thread* const (&warp)[32]);

}  // namespace perilune::kernels::cuda::emulator
