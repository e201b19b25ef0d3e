#include "tests/cuda/planted.h"

#include <functional>
#include <map>
#include <memory>

#include "kernels/cuda/cuda.h"

namespace planted {
namespace {

using namespace perilune::kernels::cuda;

constexpr int kThreads = 64;

// Each thread hands its value to its neighbour in the other warp.
__global__ void exchange(float* out, bool with_barrier) {
  SharedArena arena;
  auto values = arena.take<float>(kThreads);
  const int me = static_cast<int>(threadIdx.x);
  values[me] = 0.0f;
  __syncthreads();
  values[me] = static_cast<float>(me);
  if (with_barrier) __syncthreads();
  out[me] = values[(me + 32) % kThreads];
}

// Two threads add to one cell.
__global__ void accumulate(float* out, bool own_cell) {
  SharedArena arena;
  auto sums = arena.take<float>(kThreads);
  const int me = static_cast<int>(threadIdx.x);
  sums[own_cell ? me : me / 2] = 1.0f;
  __syncthreads();
  out[me] = own_cell ? sums[me] : 0.0f;
}

__global__ void overrun(float* out, int extra) {
  SharedArena arena;
  auto values = arena.take<float>(kThreads);
  const int me = static_cast<int>(threadIdx.x);
  values[me + extra] = 1.0f;
  __syncthreads();
  out[me] = values[me];
}

__global__ void uninitialised(float* out, bool write_all) {
  SharedArena arena;
  auto values = arena.take<float>(kThreads);
  const int me = static_cast<int>(threadIdx.x);
  if (write_all || me != 5) values[me] = 1.0f;
  __syncthreads();
  out[me] = values[me];
}

__global__ void divergent_barrier(float* out, bool all) {
  const int me = static_cast<int>(threadIdx.x);
  out[me] = 0.0f;
  if (all || me < kThreads - 1) __syncthreads();
}

__global__ void copy_async(float* out, const float* in, bool wait) {
  SharedArena arena;
  auto tile = arena.take<float>(4 * kThreads);
  const int me = static_cast<int>(threadIdx.x);
  ptx::copy_async_16(tile, 4 * me, in + 4 * me, me != 3);
  ptx::copy_async_commit();
  if (wait) ptx::copy_async_wait<0>();
  __syncthreads();
  out[me] = tile[4 * ((me + 1) % kThreads)];
}

// The newest group is still under way.
__global__ void wait_too_little(float* out, const float* in, bool enough) {
  SharedArena arena;
  auto tile = arena.take<float>(8 * kThreads);
  const int me = static_cast<int>(threadIdx.x);
  for (int half = 0; half < 2; ++half) {
    ptx::copy_async_16(tile, 4 * (me + half * kThreads), in + 4 * me, true);
    ptx::copy_async_commit();
  }
  if (enough) {
    ptx::copy_async_wait<0>();
  } else {
    ptx::copy_async_wait<1>();
  }
  out[me] = tile[4 * me] + tile[4 * (me + kThreads)];
}

__global__ void shuffle_mask(float* out, bool right) {
  const int me = static_cast<int>(threadIdx.x);
  float value = static_cast<float>(me);
  // Lanes of the upper half name a mask that they are not in.
  const unsigned mask = right ? kFullMask : 0x0000ffffu;
  value += __shfl_xor_sync(mask, value, 1);
  out[me] = value;
}

__global__ void lane_missing(float* out, bool all) {
  const int me = static_cast<int>(threadIdx.x);
  float value = 1.0f;
  if (all || me % 32 != 7) value = __shfl_sync(kFullMask, value, 0);
  out[me] = value;
}

__global__ void warp_order(float* out, bool with_barrier) {
  SharedArena arena;
  auto values = arena.take<float>(kThreads);
  const int me = static_cast<int>(threadIdx.x);
  values[me] = 0.0f;
  __syncthreads();
  values[me] = 1.0f;
  if (with_barrier) __syncwarp();
  out[me] = values[me ^ 1];  // the same warp
}

template <class... Parameters, class... Arguments>
std::string launched(void (*kernel)(Parameters...), Arguments... arguments) {
  Stream stream;
  perilune::kernels::Launch on;
  on.stream = &stream;
  launch(on, "planted", {2, kThreads, shared_bytes<float>(8 * kThreads)}, kernel, arguments...);
  return stream.status == 0 ? "" : stream.message;
}

struct Planted {
  const char* expected;
  std::function<std::string(bool right)> run;
};

const std::map<std::string, Planted>& table() {
  static const std::shared_ptr<float> memory(
      new (std::align_val_t(64)) float[4096](),
      [](float* pointer) { operator delete[](pointer, std::align_val_t(64)); });
  static float* const out = memory.get();
  static float* const in = memory.get() + 2048;
  static const std::map<std::string, Planted> kTable = {
      {"missing barrier", {"race", [](bool right) { return launched(exchange, out, right); }}},
      {"two writers", {"race", [](bool right) { return launched(accumulate, out, right); }}},
      {"missing __syncwarp", {"race", [](bool right) { return launched(warp_order, out, right); }}},
      {"store past the array",
       {"element 64 of an array of 64",
        [](bool right) { return launched(overrun, out, right ? 0 : 1); }}},
      {"read before written",
       {"before anything was written",
        [](bool right) { return launched(uninitialised, out, right); }}},
      {"divergent barrier",
       {"divergent barrier", [](bool right) { return launched(divergent_barrier, out, right); }}},
      {"missing wait",
       {"before the copy", [](bool right) { return launched(copy_async, out, in, right); }}},
      {"one group too few",
       {"before the copy", [](bool right) { return launched(wait_too_little, out, in, right); }}},
      {"shuffle mask",
       {"not in mask", [](bool right) { return launched(shuffle_mask, out, right); }}},
      {"lane missing", {"lane", [](bool right) { return launched(lane_missing, out, right); }}},
  };
  return kTable;
}

__global__ void store_at(float* out, int index) {
  out[index] = 1.0f;
}

}  // namespace

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = [] {
    std::vector<Case> all;
    for (const auto& [name, planted] : table()) {
      all.push_back({name, planted.expected});
      all.push_back({name + ", put right", ""});
    }
    return all;
  }();
  return kCases;
}

std::string run(const std::string& name) {
  const std::string::size_type right = name.find(", put right");
  return table().at(name.substr(0, right)).run(right != std::string::npos);
}

void store_out_of_bounds() {
  const auto memory = std::make_unique<float[]>(8);
  launched(store_at, memory.get(), 8);
}

}  // namespace planted
