// The emulator as a plug-in's machine: host memory, kernels that have ended when launch() returns.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "kernels/cuda/backend.h"

#if defined(__SANITIZE_ADDRESS__)
#define PERILUNE_POISONS_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PERILUNE_POISONS_MEMORY 1
#endif
#endif
#ifdef PERILUNE_POISONS_MEMORY
#include <sanitizer/asan_interface.h>
#endif

namespace perilune::kernels::cuda::backend {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr int kPoison = 0xa5;  // fresh memory holds no zeros that a kernel could rely on

}  // namespace

const char* kind() {
  return "emulator";
}

int device_count(PluginError&) {
  return 1;
}

int device_info(int index, PluginDeviceInfo& info, PluginError& error) {
  if (index != 0) {
    return fail(error, kPluginFailed, "device %d asked, and there is only emulator 0", index);
  }
  info = {};
  std::strcpy(info.name, "emulator");
  std::strcpy(info.tier, "emulator");
  std::uint64_t free = 0;
  memory(info.total_bytes, free);
  return kPluginDone;
}

void* current() {
  return nullptr;
}

void make_current(void*) {}

int select(int, PluginError&) {
  return kPluginDone;
}

int make_stream(void** handle, PluginError&) {
  *handle = nullptr;
  return kPluginDone;
}

void free_stream(void*) {}

int allocate(std::size_t bytes, void** pointer, PluginError& error) {
  std::uint64_t total = 0, free = 0;
  memory(total, free);
  if (total != 0 && bytes > total) return fail(error, kPluginMemory, "the machine has no more");
  if (posix_memalign(pointer, kAlignment, bytes) != 0) {
    return fail(error, kPluginMemory, "the machine has no more memory");
  }
  return kPluginDone;
}

void release(void* pointer) {
  std::free(pointer);
}

int allocate_host(std::size_t bytes, void** pointer, PluginError& error) {
  return allocate(bytes == 0 ? 1 : bytes, pointer, error);
}

void release_host(void* pointer) {
  std::free(pointer);
}

void memory(std::uint64_t& total, std::uint64_t& free) {
  const long pages = sysconf(_SC_PHYS_PAGES), available = sysconf(_SC_AVPHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  const auto bytes = [page](long count) {
    return count <= 0 || page <= 0
               ? std::uint64_t{0}
               : static_cast<std::uint64_t>(count) * static_cast<std::uint64_t>(page);
  };
  total = bytes(pages);
  free = bytes(available);
}

void lent(void* pointer, std::size_t used, std::size_t bytes, bool to_holder) {
#ifdef PERILUNE_POISONS_MEMORY
  ASAN_UNPOISON_MEMORY_REGION(pointer, bytes);
#endif
  if (to_holder && bytes <= (std::size_t{1} << 22)) std::memset(pointer, kPoison, bytes);
#ifdef PERILUNE_POISONS_MEMORY
  if (!to_holder) ASAN_POISON_MEMORY_REGION(pointer, bytes);
  if (to_holder) ASAN_POISON_MEMORY_REGION(static_cast<char*>(pointer) + used, bytes - used);
#else
  (void)used;
#endif
}

int copy_in(void*, void* to, const void* host, std::size_t bytes, PluginError&) {
  std::memcpy(to, host, bytes);
  return kPluginDone;
}

int copy_out(void*, void* host, const void* from, std::size_t bytes, PluginError&) {
  std::memcpy(host, from, bytes);
  return kPluginDone;
}

int copy_device(void*, void* to, const void* from, std::size_t bytes, PluginError&) {
  std::memmove(to, from, bytes);
  return kPluginDone;
}

int fill(void*, void* to, unsigned char byte, std::size_t bytes, PluginError&) {
  std::memset(to, byte, bytes);
  return kPluginDone;
}

int make_event(void** event, PluginError&) {
  *event = nullptr;
  return kPluginDone;
}

int record(void*, void*, PluginError&) {
  return kPluginDone;
}

int query(void*, PluginError&) {
  return kPluginDone;
}

int wait(void*, PluginError&) {
  return kPluginDone;
}

void free_event(void*) {}

int synchronize(void*, PluginError&) {
  return kPluginDone;
}

}  // namespace perilune::kernels::cuda::backend
