#include "kernels/cuda/emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define PERILUNE_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PERILUNE_FIBER_ASAN 1
#endif
#endif

#ifdef PERILUNE_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef __x86_64__
#error "emulator/fiber.cpp: write the context switch of this processor"
#endif

// System V AMD64 ABI: rbx, rbp and r12 to r15 belong to the caller; so do the rounding modes, which
// no kernel changes.
extern "C" void perilune_emulator_switch(void** save, void* load);
asm(R"(
.text
.hidden perilune_emulator_switch
.globl perilune_emulator_switch
.type perilune_emulator_switch,@function
perilune_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size perilune_emulator_switch,.-perilune_emulator_switch
)");

namespace perilune::kernels::cuda::emulator {
namespace {

std::size_t page_bytes() {
  return static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// A fiber left in the middle (its block was found faulty) never takes back the red zones of its
// frames.
void forget_red_zones(const std::byte* bottom) {
#ifdef PERILUNE_FIBER_ASAN
  __asan_unpoison_memory_region(bottom, Stack::kBytes);
#else
  (void)bottom;
#endif
}

}  // namespace

Stack::Stack() {
  void* memory = mmap(nullptr, kBytes + page_bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;
  mprotect(memory, page_bytes(), PROT_NONE);
  memory_ = static_cast<std::byte*>(memory);
}

Stack::~Stack() {
  if (memory_ == nullptr) return;
  forget_red_zones(bottom());
  munmap(memory_, kBytes + page_bytes());
}

std::byte* Stack::bottom() const {
  return memory_ + page_bytes();
}

void prepare(Fiber& fiber, const Stack& stack, void (*entry)()) {
  // Six registers, the address that `ret` takes, and a slot that keeps the stack aligned as after a
  // call.
  auto* top = reinterpret_cast<void**>(stack.top()) - 2;
  top[0] = reinterpret_cast<void*>(entry);
  top[1] = nullptr;
  void** begin = top - 6;
  std::memset(begin, 0, 6 * sizeof(void*));
  fiber.stack_pointer = begin;
  fiber.bottom = stack.bottom();
  fiber.bytes = Stack::kBytes;
  fiber.fake_stack = nullptr;
}

void switch_fiber(Fiber& from, Fiber& to, bool ends) {
#ifdef PERILUNE_FIBER_ASAN
  __sanitizer_start_switch_fiber(ends ? nullptr : &from.fake_stack, to.bottom, to.bytes);
#else
  (void)ends;
#endif
  perilune_emulator_switch(&from.stack_pointer, to.stack_pointer);
#ifdef PERILUNE_FIBER_ASAN
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void begin_fiber(Fiber& from) {
#ifdef PERILUNE_FIBER_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &from.bottom, &from.bytes);
#else
  (void)from;
#endif
}

}  // namespace perilune::kernels::cuda::emulator
