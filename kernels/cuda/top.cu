// top: the first `count` of each row in order of value, ties by lowest index, NaN last.
//
// A value and its index make one 64-bit key whose ascending order is the order asked for, and no
// two are equal, so the answer does not depend on how it is found. Until the end the keys are kept
// where the indices go.
//   1. count < width: a block a row finds the count-th value by five bits of the key at a time
//      (radix select: a lane of each warp counts one digit), then moves the keys up to it to the
//      front. Else all keys are written.
//   2. Bitonic sort (Batcher 1968), every comparison ascending, so that a length that is no power
//   of
//      two needs no padding: tiles in shared memory, the wider steps one launch each.
//   3. Keys become indices and values.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/strided.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kSelectThreads = 512, kSelectWarps = kSelectThreads / kWarp;
constexpr int kDigitBits = 5, kValueBits = 32;
constexpr int kTile = 1024;  // keys sorted in shared memory
constexpr int kStepThreads = 256;

/// Ascending in the order asked for: the value's bits made comparable as unsigned.
__device__ __forceinline__ std::uint32_t order_of(float x, bool descending) {
  if (x != x) return 0xffffffffu;
  const std::uint32_t bits = x == 0.0f ? 0u : __float_as_uint(x);  // -0 equals 0
  const std::uint32_t ascending = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return descending ? ~ascending : ascending;
}

__device__ __forceinline__ std::uint64_t key_of(std::uint32_t order, std::int64_t index) {
  return static_cast<std::uint64_t>(order) << 32 | static_cast<std::uint32_t>(index);
}

__device__ __forceinline__ int ones(unsigned bits) {
#ifdef PERILUNE_EMULATOR
  return __builtin_popcount(bits);
#else
  return __popc(bits);
#endif
}

__device__ __forceinline__ std::uint64_t* keys_of(const TopArguments& a, std::int64_t row) {
  return reinterpret_cast<std::uint64_t*>(a.indices) + row * a.count;
}

__global__ void __launch_bounds__(kElementThreads) all_keys_kernel(TopArguments a) {
  each_element(a.rows * a.count, [&](std::int64_t at) {
    const std::int64_t row = at / a.width, index = at - row * a.width;
    keys_of(a, row)[index] = key_of(order_of(a.x[row * a.x_stride + index], a.descending), index);
  });
}

/// Counts of the kWarp digits `(order >> shift) % 32` among the row's orders that begin with
/// `prefix`; lane d's answer is digit d. One warp's share: every threads-th element.
__device__ __forceinline__ std::int64_t count_digit(const TopArguments& a, const float* x,
                                                    std::uint32_t prefix, int shift, int bits) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
  std::int64_t found = 0;
  for (std::int64_t base = thread - lane; base < a.width; base += kSelectThreads) {
    const bool inside = base + lane < a.width;
    const std::uint32_t order = inside ? order_of(x[base + lane], a.descending) : 0;
    // shift + bits is 32 the first time, where the prefix is empty.
    const bool candidate =
        inside && (static_cast<std::uint64_t>(order) >> (shift + bits)) == prefix;
    unsigned mine = __ballot_sync(kFullMask, candidate);
    if (mine == 0) continue;  // the same in all lanes
#pragma unroll
    for (int bit = 0; bit < kDigitBits; ++bit) {
      const bool set = bit < bits && (order >> (shift + bit) & 1u) != 0;
      const unsigned having = __ballot_sync(kFullMask, set);
      mine &= (lane >> bit & 1) != 0 ? having : ~having;
    }
    found += ones(mine);
  }
  return found;
}

/// Moves the keys of `limit`'s betters, and `equals` of its equals, to the front of the output.
/// Each warp has a contiguous part of the row, so that equals go by lowest index.
__device__ __forceinline__ void gather_keys(const TopArguments& a, std::int64_t row,
                                            std::uint32_t limit, std::int64_t equals,
                                            shared_array<std::int64_t> counts) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const float* x = a.x + row * a.x_stride;
  const std::int64_t part = (a.width + kSelectThreads - 1) / kSelectThreads * kWarp;
  const std::int64_t begin = warp * part, end = begin + part < a.width ? begin + part : a.width;
  std::int64_t betters_before = 0, equals_before = 0;
  for (std::int64_t base = begin; base < end; base += kWarp) {
    const std::uint32_t order =
        base + lane < end ? order_of(x[base + lane], a.descending) : 0xffffffffu;
    const bool inside = base + lane < end;
    betters_before += ones(__ballot_sync(kFullMask, inside && order < limit));
    equals_before += ones(__ballot_sync(kFullMask, inside && order == limit));
  }
  if (lane == 0) {
    counts[warp] = betters_before;
    counts[kSelectWarps + warp] = equals_before;
  }
  __syncthreads();
  betters_before = equals_before = 0;
  for (int i = 0; i < warp; ++i) {
    betters_before += counts[i];
    equals_before += counts[kSelectWarps + i];
  }
  const std::int64_t betters = a.count - equals;
  const unsigned lower_lanes = (1u << lane) - 1u;
  std::uint64_t* keys = keys_of(a, row);
  for (std::int64_t base = begin; base < end; base += kWarp) {
    const bool inside = base + lane < end;
    const std::uint32_t order = inside ? order_of(x[base + lane], a.descending) : 0;
    const unsigned better = __ballot_sync(kFullMask, inside && order < limit);
    const unsigned equal = __ballot_sync(kFullMask, inside && order == limit);
    const std::int64_t nth_better = betters_before + ones(better & lower_lanes);
    const std::int64_t nth_equal = equals_before + ones(equal & lower_lanes);
    if ((better >> lane & 1u) != 0) keys[nth_better] = key_of(order, base + lane);
    if ((equal >> lane & 1u) != 0 && nth_equal < equals)
      keys[betters + nth_equal] = key_of(order, base + lane);
    betters_before += ones(better);
    equals_before += ones(equal);
  }
}

__global__ void __launch_bounds__(kSelectThreads) select_kernel(TopArguments a) {
  SharedArena arena;
  auto digits = arena.take<std::int64_t>(2 * kSelectThreads);  // [pass % 2][warp][digit]
  auto counts = arena.take<std::int64_t>(2 * kSelectWarps);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t row = blockIdx.x;
  const float* x = a.x + row * a.x_stride;
  std::int64_t wanted = a.count;  // the wanted-th among those that begin with `prefix`
  std::uint32_t prefix = 0;
  int half = 0;
  for (int left = kValueBits; left > 0; half = kSelectThreads - half) {
    const int bits = left < kDigitBits ? left : kDigitBits;
    left -= bits;
    digits[half + static_cast<int>(threadIdx.x)] = count_digit(a, x, prefix, left, bits);
    __syncthreads();
    std::int64_t own = 0;
    for (int warp = 0; warp < kSelectWarps; ++warp) own += digits[half + warp * kWarp + lane];
    std::int64_t up_to = own;  // this digit and the lower ones
#pragma unroll
    for (int apart = 1; apart < kWarp; apart *= 2) {
      const std::int64_t below = __shfl_up_sync(kFullMask, up_to, apart);
      if (lane >= apart) up_to += below;
    }
    const unsigned reached = __ballot_sync(kFullMask, up_to >= wanted);
    const int digit = ones(~reached & (reached - 1u));  // the lowest lane
    wanted -= __shfl_sync(kFullMask, up_to - own, digit);
    prefix = prefix << bits | static_cast<std::uint32_t>(digit);
  }
  gather_keys(a, row, prefix, wanted, counts);
}

/// The two places of pair `pair` in a step. Mirrored steps begin a merge of two halves of `apart`
/// each (a power of two); the others compare at that distance.
struct Pair {
  std::int64_t low, high;
};
__device__ __forceinline__ Pair pair_at(std::int64_t pair, std::int64_t apart, bool mirrored) {
  const std::int64_t offset = pair & (apart - 1), begin = 2 * (pair - offset);
  return {begin + offset, mirrored ? begin + 2 * apart - 1 - offset : begin + apart + offset};
}

struct TileJob {
  TopArguments a;
  std::int64_t tiles;  // of a row
  int tile;            // keys, a power of two; twice the threads
  bool whole;          // sort the tile from scratch, or only the last steps of a merge
  bool last;           // afterwards keys become indices and values
};

__global__ void __launch_bounds__(kTile / 2) sort_tile_kernel(TileJob job) {
  SharedArena arena;
  auto keys = arena.take<std::uint64_t>(job.tile);
  const int thread = static_cast<int>(threadIdx.x), threads = job.tile / 2;
  const std::int64_t row = blockIdx.x / job.tiles;
  const std::int64_t begin = (blockIdx.x - row * job.tiles) * job.tile;
  std::uint64_t* stored = keys_of(job.a, row);
  for (int i = thread; i < job.tile; i += threads)
    keys[i] = begin + i < job.a.count ? stored[begin + i] : ~std::uint64_t{0};
  for (int merged = job.whole ? 2 : job.tile; merged <= job.tile; merged *= 2) {
    for (int apart = merged / 2; apart > 0; apart /= 2) {
      __syncthreads();
      const Pair pair = pair_at(thread, apart, job.whole && apart == merged / 2);
      const auto low = static_cast<int>(pair.low), high = static_cast<int>(pair.high);
      const std::uint64_t first = keys[low], second = keys[high];
      if (second < first) {
        keys[low] = second;
        keys[high] = first;
      }
    }
  }
  __syncthreads();
  for (int i = thread; i < job.tile && begin + i < job.a.count; i += threads) {
    const std::uint64_t key = keys[i];
    if (!job.last) {
      stored[begin + i] = key;
      continue;
    }
    const auto index = static_cast<std::int64_t>(key & 0xffffffffu);
    job.a.indices[row * job.a.count + begin + i] = index;
    job.a.values[row * job.a.count + begin + i] = job.a.x[row * job.a.x_stride + index];
  }
}

/// One step over distances that no tile holds.
__global__ void __launch_bounds__(kStepThreads)
    merge_step_kernel(TopArguments a, std::int64_t pairs, std::int64_t apart, bool mirrored) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kStepThreads + threadIdx.x;
  const std::int64_t row = at / pairs;
  if (row >= a.rows) return;
  const Pair pair = pair_at(at - row * pairs, apart, mirrored);
  if (pair.high >= a.count) return;
  std::uint64_t* keys = keys_of(a, row);
  const std::uint64_t first = keys[pair.low], second = keys[pair.high];
  if (second < first) {
    keys[pair.low] = second;
    keys[pair.high] = first;
  }
}

void sort_tiles(const Launch& on, const TopArguments& a, int tile, bool whole, bool last) {
  const TileJob job = {a, (a.count + tile - 1) / tile, tile, whole, last};
  launch(on, "top_sort",
         {dim3(static_cast<unsigned>(a.rows * job.tiles)), dim3(static_cast<unsigned>(tile / 2)),
          shared_bytes<std::uint64_t>(tile)},
         sort_tile_kernel, job);
}

}  // namespace

// Selecting: a block a row. Sorting: a thread a pair, tiles no larger than the answer.
void top(const Launch& on, const TopArguments& a) {
  if (a.rows == 0 || a.count == 0) return;
  if (a.count == a.width) {
    launch(on, "top_keys", element_blocks(a.rows * a.count), all_keys_kernel, a);
  } else {
    launch(on, "top_select",
           {dim3(static_cast<unsigned>(a.rows)), dim3(kSelectThreads),
            shared_bytes<std::int64_t>(2 * kSelectThreads) +
                shared_bytes<std::int64_t>(2 * kSelectWarps)},
           select_kernel, a);
  }
  int tile = 2 * kWarp;
  while (tile < kTile && tile < a.count) tile *= 2;
  sort_tiles(on, a, tile, true, a.count <= tile);
  std::int64_t sorted = tile;
  while (sorted < a.count) {
    const std::int64_t merged = 2 * sorted, pairs = (a.count + merged - 1) / merged * sorted;
    const auto blocks = static_cast<unsigned>((a.rows * pairs + kStepThreads - 1) / kStepThreads);
    for (std::int64_t apart = sorted; apart >= tile; apart /= 2)
      launch(on, "top_merge", {dim3(blocks), dim3(kStepThreads)}, merge_step_kernel, a, pairs,
             apart, apart == sorted);
    sort_tiles(on, a, tile, false, merged >= a.count);
    sorted = merged;
  }
}

}  // namespace perilune::kernels::cuda
