// Replaces operator new and what the CPU's memory comes from, which is why these tests are an
// executable of their own.
#include "tests/allocations/counter.h"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> heap{0}, device{0};

void* counted(std::size_t bytes) {
  heap.fetch_add(1, std::memory_order_relaxed);
  if (void* pointer = std::malloc(bytes == 0 ? 1 : bytes)) return pointer;
  throw std::bad_alloc();
}

}  // namespace

namespace perilune_test {

Allocations allocations() {
  return {heap.load(), device.load()};
}

}  // namespace perilune_test

extern "C" int posix_memalign(void** pointer, std::size_t alignment, std::size_t bytes) noexcept {
  device.fetch_add(1, std::memory_order_relaxed);
  *pointer = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  return *pointer == nullptr ? ENOMEM : 0;
}

void* operator new(std::size_t bytes) {
  return counted(bytes);
}
void* operator new[](std::size_t bytes) {
  return counted(bytes);
}
void operator delete(void* pointer) noexcept {
  std::free(pointer);
}
void operator delete[](void* pointer) noexcept {
  std::free(pointer);
}
void operator delete(void* pointer, std::size_t) noexcept {
  std::free(pointer);
}
void operator delete[](void* pointer, std::size_t) noexcept {
  std::free(pointer);
}
