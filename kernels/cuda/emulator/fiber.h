// Stackful coroutines on one operating-system thread: what the threads of a block run on.
#pragma once

#include <cstddef>

namespace perilune::kernels::cuda::emulator {

/// A stack with a guard page below it.
class Stack {
 public:
  static constexpr std::size_t kBytes = std::size_t{256} << 10;
  Stack();
  ~Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;
  bool valid() const { return memory_ != nullptr; }
  std::byte* bottom() const;
  std::byte* top() const { return bottom() + kBytes; }

 private:
  std::byte* memory_ = nullptr;
};

/// Where something stopped: enough to go on there.
struct Fiber {
  void* stack_pointer = nullptr;
  const void* bottom = nullptr;  // of its stack; for AddressSanitizer
  std::size_t bytes = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

/// Makes `fiber` begin in `entry` on `stack` when it is first switched to; `entry` never returns.
void prepare(Fiber& fiber, const Stack& stack, void (*entry)());
/// Stops here and goes on in `to`. `ends`: `from` is never switched to again.
void switch_fiber(Fiber& from, Fiber& to, bool ends);
/// The first thing a fiber does; `from` is the fiber that was left.
void begin_fiber(Fiber& from);

}  // namespace perilune::kernels::cuda::emulator
