#include "tests/kernels/plugin_table.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <new>
#include <stdexcept>
#include <utility>

#include "kernels/plugin.h"

namespace kernel_test {
namespace {

using namespace perilune::kernels;

/// One piece of memory that host and device see at the same address, dealt out in powers of two
/// and kept for reuse. A pinned piece of the driver's; the emulator sees the host's own.
class SharedPiece {
 public:
  void begin(char* piece, std::size_t bytes) {
    begin_ = next_ = piece;
    end_ = piece + bytes;
  }
  bool active() const { return begin_ != nullptr; }
  bool holds(const void* pointer) const { return pointer >= begin_ && pointer < end_; }

  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    int order = 6;
    while ((std::size_t{1} << order) < bytes + kHeader) ++order;
    char* block = static_cast<char*>(free_[order]);
    if (block != nullptr) {
      free_[order] = *reinterpret_cast<void**>(block + kHeader);
    } else {
      if (static_cast<std::size_t>(end_ - next_) < std::size_t{1} << order) throw std::bad_alloc();
      block = next_;
      next_ += std::size_t{1} << order;
      *reinterpret_cast<int*>(block) = order;
    }
    return block + kHeader;
  }
  void give_back(void* pointer) {
    const std::lock_guard lock(mutex_);
    char* block = static_cast<char*>(pointer) - kHeader;
    void*& first = free_[*reinterpret_cast<int*>(block)];
    *static_cast<void**>(pointer) = first;
    first = block;
  }

 private:
  static constexpr std::size_t kHeader = 64;  // keeps every piece 64-byte aligned
  char *begin_ = nullptr, *next_ = nullptr, *end_ = nullptr;
  void* free_[48] = {};
  std::mutex mutex_;
};
SharedPiece shared_piece;

const PluginTable* plugin = nullptr;
PluginDevice* device = nullptr;
const KernelTable* inner = nullptr;
std::string failure;

/// An entry that waits for the device, since the tests read the answer at once.
template <auto kEntry>
struct Synchronous;
template <class... Arguments, void (*KernelTable::*kEntry)(const Launch&, Arguments...)>
struct Synchronous<kEntry> {
  static void call(const Launch& on, Arguments... arguments) {
    (inner->*kEntry)(on, arguments...);
    PluginError error{};
    if (plugin->synchronize(device, &error) != kPluginDone) failure = error.text;
  }
};

KernelTable synchronous() {
  KernelTable table = *inner;
  const auto wrap = [&]<auto... kEntries>() {
    ((table.*kEntries = table.*kEntries == nullptr ? nullptr : Synchronous<kEntries>::call), ...);
  };
  using T = KernelTable;
  wrap.
  operator()<&T::pack, &T::pack_coded, &T::unpack_rows, &T::linear, &T::embedding, &T::rms_norm,
             &T::layer_norm, &T::rope_table, &T::rope, &T::kv_write, &T::attention,
             &T::attention_weights, &T::unary, &T::binary, &T::where, &T::copy, &T::reduce,
             &T::softmax, &T::cumulative_sum, &T::top, &T::gather_rows, &T::gated, &T::matmul>();
  return table;
}

[[noreturn]] void give_up(const std::string& what) {
  throw std::runtime_error("PERILUNE_KERNELS: " + what);
}

const PluginTable* load(const std::string& kind) {
  const char* folder = std::getenv("PERILUNE_PLUGINS");
  const auto beside = std::filesystem::canonical("/proc/self/exe").parent_path().parent_path();
  const std::string path =
      (folder != nullptr && *folder != '\0' ? std::string(folder) : beside.string()) +
      "/libperilune_" + kind + ".so";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) give_up(dlerror());
  using Entry = const PluginTable* (*)(std::uint32_t);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "perilune_plugin"));
  const PluginTable* table = entry == nullptr ? nullptr : entry(kPluginVersion);
  if (table == nullptr || table->kernel_table_bytes != sizeof(KernelTable))
    give_up(path + " was built for another engine");
  return table;
}

/// From the driver itself, on the context that the plug-in works in: cudaHostAlloc in its words.
char* pinned(std::size_t bytes) {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) give_up(dlerror());
  const auto retain =
      reinterpret_cast<int (*)(void**, int)>(dlsym(driver, "cuDevicePrimaryCtxRetain"));
  const auto enter = reinterpret_cast<int (*)(void*)>(dlsym(driver, "cuCtxSetCurrent"));
  const auto allocate =
      reinterpret_cast<int (*)(void**, std::size_t, unsigned)>(dlsym(driver, "cuMemHostAlloc"));
  constexpr unsigned kPortable = 1, kMapped = 2;
  void *context = nullptr, *piece = nullptr;
  if (retain == nullptr || enter == nullptr || allocate == nullptr || retain(&context, 0) != 0 ||
      enter(context) != 0 || allocate(&piece, bytes, kPortable | kMapped) != 0)
    give_up("the driver gave no pinned memory");
  return static_cast<char*>(piece);
}

}  // namespace

const KernelTable& open_plugin(const std::string& kind) {
#ifdef __SANITIZE_ADDRESS__
  if (kind == "cuda") give_up("a GPU cannot read memory under a sanitizer");
#endif
  constexpr std::size_t kBytes = std::size_t{2} << 30;
  plugin = load(kind);
  PluginError error{};
  if (plugin->open(0, 0, &device, &error) != kPluginDone) give_up(error.text);
  inner = plugin->kernels(device);
  static const KernelTable table = synchronous();
  // Never given back: the program's memory may lie in it to the end.
  shared_piece.begin(kind == "cuda" ? pinned(kBytes) : static_cast<char*>(std::malloc(kBytes)),
                     kBytes);
  return table;
}

void* device_memory(std::size_t bytes) {
  return shared_piece.active() ? shared_piece.take(bytes) : nullptr;
}

bool release_device_memory(void* pointer) {
  if (!shared_piece.holds(pointer)) return false;
  shared_piece.give_back(pointer);
  return true;
}

void* plugin_stream() {
  return plugin == nullptr ? nullptr : plugin->stream(device);
}

std::string plugin_failure() {
  return std::exchange(failure, std::string());
}

}  // namespace kernel_test

// A sanitizer has a `new` of its own.
#ifndef __SANITIZE_ADDRESS__
void* operator new(std::size_t bytes) {
  if (kernel_test::shared_piece.active()) return kernel_test::shared_piece.take(bytes);
  void* pointer = std::malloc(bytes == 0 ? 1 : bytes);
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}
void operator delete(void* pointer) noexcept {
  if (!kernel_test::release_device_memory(pointer)) std::free(pointer);
}
void operator delete(void* pointer, std::size_t) noexcept {
  operator delete(pointer);
}
#endif
