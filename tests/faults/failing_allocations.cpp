// Allocations that fail on demand: preloaded in front of the C library, whose own ones it calls.
// fault_arm(n, always, kind): allocation n from now on fails (with `always` all after it as well),
// counted alone of kind 1 (malloc and its kin) or 2 (mmap, of which LuaJIT makes its memory).
// fault_disarm() -> how many there were; fault_failed() -> whether one failed.
#include <dlfcn.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstring>

extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

}  // extern "C"

namespace {

std::atomic<long> count{0}, fail_at{0};
std::atomic<int> all_after{0}, armed{0}, failed{0}, counted_kind{0};

/// libgcc's list of frames, to which LuaJIT adds its machine code, does not look whether it got its
/// memory: what the process dies of then is not ours.
bool unchecked(const void* caller) {
  Dl_info from;
  return dladdr(caller, &from) != 0 && std::strstr(from.dli_fname, "libgcc_s") != nullptr;
}

bool fails(int kind, const void* caller = nullptr) {
  if (armed == 0 || counted_kind != kind) return false;
  const long n = ++count;
  if (fail_at <= 0 || (n != fail_at && (all_after == 0 || n < fail_at))) return false;
  if (caller != nullptr && unchecked(caller)) return false;
  failed = 1;
  errno = ENOMEM;
  return true;
}

template <class Function>
Function next_of(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

#define EXPORTED __attribute__((visibility("default")))

extern "C" {

EXPORTED void fault_arm(long n, int always, int kind) {
  count = 0;
  fail_at = n;
  all_after = always;
  failed = 0;
  counted_kind = kind;
  armed = 1;
}
EXPORTED long fault_disarm() {
  armed = 0;
  return count;
}
EXPORTED int fault_failed() {
  return failed;
}

EXPORTED void* malloc(std::size_t size) noexcept {
  return fails(1, __builtin_return_address(0)) ? nullptr : __libc_malloc(size);
}
EXPORTED void* calloc(std::size_t items, std::size_t size) noexcept {
  return fails(1) ? nullptr : __libc_calloc(items, size);
}
EXPORTED void* realloc(void* old, std::size_t size) noexcept {
  return fails(1) ? nullptr : __libc_realloc(old, size);
}
EXPORTED int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  if (fails(1)) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}
EXPORTED void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return fails(1) ? nullptr : __libc_memalign(alignment, size);
}
EXPORTED void* memalign(std::size_t alignment, std::size_t size) noexcept {
  return fails(1) ? nullptr : __libc_memalign(alignment, size);
}

EXPORTED void* mmap(void* at, std::size_t size, int protection, int flags, int file,
                    off_t offset) noexcept {
  using Function = void* (*)(void*, std::size_t, int, int, int, off_t);
  static const auto real = next_of<Function>("mmap");
  return fails(2) ? MAP_FAILED : real(at, size, protection, flags, file, offset);
}
EXPORTED void* mmap64(void* at, std::size_t size, int protection, int flags, int file,
                      __off64_t offset) noexcept {
  using Function = void* (*)(void*, std::size_t, int, int, int, __off64_t);
  static const auto real = next_of<Function>("mmap64");
  return fails(2) ? MAP_FAILED : real(at, size, protection, flags, file, offset);
}
EXPORTED void* mremap(void* old, std::size_t old_size, std::size_t size, int flags, ...) noexcept {
  using Function = void* (*)(void*, std::size_t, std::size_t, int, ...);
  static const auto real = next_of<Function>("mremap");
  if (fails(2)) return MAP_FAILED;
  std::va_list rest;
  va_start(rest, flags);
  void* at = (flags & MREMAP_FIXED) != 0 ? va_arg(rest, void*) : nullptr;
  va_end(rest);
  return real(old, old_size, size, flags, at);
}

}  // extern "C"
