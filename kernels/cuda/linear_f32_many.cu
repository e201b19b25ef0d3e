// linear in mode f32 for many rows: tiles of rows and outputs, in true f32 (no tensor cores). The
// order of sums is that of linear_device.h: a chain of fmaf for the segment, a total for the
// output.
#include "kernels/cuda/linear_kernels.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 256;  // 16 x 16 of them share the tile
constexpr int kDepth = 16;     // inputs of a step

/// A block's tile: a thread has Quads * 4 rows by as many outputs, fours of them 64 apart, so that
/// neighbouring threads read neighbouring words.
template <int Quads>
struct Tile {
  static constexpr int kSide = Quads * 64;
  static constexpr int kPitch =
      kSide + 4;  // of x: the transposing writes meet a bank twice at most
  static constexpr int kPanels = kSide / static_cast<int>(kPanel);
  static constexpr int kHeldWeights = kDepth * kSide / 4 / kThreads;  // fours of a thread
  static constexpr int kHeldInputs = kDepth * kSide / kThreads;
  static constexpr int kWeights = kDepth * kSide, kInputs = kDepth * kPitch;  // floats of a step
  static constexpr int kBlocks = Quads == 1 ? 2 : 1;  // of a multiprocessor, as registers allow
  static constexpr std::size_t kBytes =
      shared_bytes<float>(2 * kWeights) + shared_bytes<float>(2 * kInputs);
  static_assert(shared_fits(kBytes, kBlocks));
};

__device__ __forceinline__ float4 load_four(const float* weight) {
  return __ldg(reinterpret_cast<const float4*>(weight));
}
template <class T>
__device__ __forceinline__ float4 load_four(const T* weight) {
  const uint2 words = __ldg(reinterpret_cast<const uint2*>(weight));
  const auto low = [](std::uint32_t word) { return to_float(T{static_cast<std::uint16_t>(word)}); };
  return make_float4(low(words.x), low(words.x >> 16), low(words.y), low(words.y >> 16));
}

/// What a thread has fetched of a step and not yet put into shared memory.
template <int Quads>
struct Held {
  float4 weights[Tile<Quads>::kHeldWeights];
  float x[Tile<Quads>::kHeldInputs];
};

template <class T, int Quads>
__device__ __forceinline__ void fetch(Held<Quads>& held, const Products& products,
                                      const Product& product, std::int64_t first_panel,
                                      std::int64_t first_row, std::int64_t base) {
  using Sizes = Tile<Quads>;
  const int me = static_cast<int>(threadIdx.x);
  const std::int64_t panels = ceil_div(product.outputs, kPanel);
#pragma unroll
  for (int i = 0; i < Sizes::kHeldWeights; ++i) {
    const int at = me + i * kThreads, four = at % (Sizes::kSide / 4);
    const std::int64_t k = base + at / (Sizes::kSide / 4), panel = first_panel + four / 8;
    held.weights[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (k >= products.inputs || panel >= panels) continue;
    held.weights[i] = load_four(static_cast<const T*>(product.weight) +
                                (panel * products.inputs + k) * kPanel + four % 8 * 4);
  }
#pragma unroll
  for (int i = 0; i < Sizes::kHeldInputs; ++i) {
    const int at = me + i * kThreads;
    const std::int64_t k = base + at % kDepth, row = first_row + at / kDepth;
    const bool there = k < products.inputs && row < products.rows;
    held.x[i] = there ? __ldg(products.x + row * products.x_stride + k) : 0.0f;
  }
}

/// weights [input][output], x [input][row]
template <int Quads>
__device__ __forceinline__ void put(const Held<Quads>& held, shared_array<float> weights,
                                    shared_array<float> x) {
  using Sizes = Tile<Quads>;
  const int me = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < Sizes::kHeldWeights; ++i) {
    weights.store4((me + i * kThreads) * 4, held.weights[i]);
  }
#pragma unroll
  for (int i = 0; i < Sizes::kHeldInputs; ++i) {
    const int at = me + i * kThreads;
    x[at % kDepth * Sizes::kPitch + at / kDepth] = held.x[i];
  }
}

template <int Quads>
__device__ __forceinline__ void multiply_input(float (&sum)[Quads * 4][Quads * 4],
                                               shared_array<float> weights, shared_array<float> x,
                                               int k, int line, int column) {
  using Sizes = Tile<Quads>;
  float w4[Quads * 4], x4[Quads * 4];
#pragma unroll
  for (int q = 0; q < Quads; ++q) {
    const float4 w = weights.load4(k * Sizes::kSide + column + q * 64);
    const float4 r = x.load4(k * Sizes::kPitch + line + q * 64);
    w4[q * 4] = w.x, w4[q * 4 + 1] = w.y, w4[q * 4 + 2] = w.z, w4[q * 4 + 3] = w.w;
    x4[q * 4] = r.x, x4[q * 4 + 1] = r.y, x4[q * 4 + 2] = r.z, x4[q * 4 + 3] = r.w;
  }
#pragma unroll
  for (int r = 0; r < Quads * 4; ++r) {
#pragma unroll
    for (int o = 0; o < Quads * 4; ++o) sum[r][o] = fmaf(x4[r], w4[o], sum[r][o]);
  }
}

/// A warp's outputs pass through its own 2 * kSide words of shared memory, two rows at a time, so
/// that neighbouring lanes store neighbouring outputs.
template <int Quads>
__device__ __forceinline__ void store_tile(const float (&total)[Quads * 4][Quads * 4],
                                           shared_array<float> staged, const Products& products,
                                           const Product& product, std::int64_t first_row,
                                           std::int64_t first_output) {
  constexpr int kSide = Tile<Quads>::kSide;
  const int me = static_cast<int>(threadIdx.x), lane = me % kWarp;
  const int column = me % 16 * 4, half = lane / 16;
#pragma unroll
  for (int r = 0; r < Quads * 4; ++r) {
    __syncwarp();
#pragma unroll
    for (int q = 0; q < Quads; ++q) {
      staged.store4(half * kSide + column + q * 64,
                    make_float4(total[r][q * 4], total[r][q * 4 + 1], total[r][q * 4 + 2],
                                total[r][q * 4 + 3]));
    }
    __syncwarp();
#pragma unroll 1
    for (int i = lane; i < 2 * kSide; i += kWarp) {
      const int row = (me / kWarp * 2 + i / kSide) * 4 + r % 4 + r / 4 * 64;
      store_output(products, product, first_row + row, first_output + i % kSide, staged[i]);
    }
  }
}

template <class T, int Quads>
__global__ void __launch_bounds__(kThreads, Tile<Quads>::kBlocks) many_rows(Products products) {
  using Sizes = Tile<Quads>;
  constexpr int kEach = Quads * 4;
  SharedArena arena;
  auto weights = arena.take<float>(2 * Sizes::kWeights);
  auto x = arena.take<float>(2 * Sizes::kInputs);
  const Product& product = product_of(products, blockIdx.y);
  const int me = static_cast<int>(threadIdx.x), column = me % 16 * 4, line = me / 16 * 4;
  const std::int64_t first_panel =
      static_cast<std::int64_t>(blockIdx.y - product.first_block) * Sizes::kPanels;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.x) * Sizes::kSide;
  const int inputs = static_cast<int>(products.inputs);
  const int segment_steps = product.segments.length / kDepth;
  int left = segment_steps;  // of this segment
  float total[kEach][kEach] = {}, sum[kEach][kEach] = {};
  Held<Quads> held;
  fetch<T>(held, products, product, first_panel, first_row, 0);
  put(held, weights, x);
  __syncthreads();
  for (int base = 0, slot = 0; base < inputs; base += kDepth, slot ^= 1) {
    fetch<T>(held, products, product, first_panel, first_row, base + kDepth);
    const auto step_weights = weights.from(slot * Sizes::kWeights);
    const auto step_x = x.from(slot * Sizes::kInputs);
    // No product beyond the end: adding 0 would turn a sum of -0 to 0.
    const int depth = inputs - base < kDepth ? inputs - base : kDepth;
#pragma unroll 2
    for (int k = 0; k < depth; ++k) {
      multiply_input<Quads>(sum, step_weights, step_x, k, line, column);
    }
    put(held, weights.from((slot ^ 1) * Sizes::kWeights), x.from((slot ^ 1) * Sizes::kInputs));
    __syncthreads();
    if (--left > 0 && base + kDepth < inputs) continue;
    left = segment_steps;
#pragma unroll
    for (int r = 0; r < kEach; ++r) {
#pragma unroll
      for (int o = 0; o < kEach; ++o) {
        total[r][o] = total[r][o] + sum[r][o];
        sum[r][o] = 0.0f;
      }
    }
  }
  // The last step's barrier has passed: nobody reads weights any more.
  store_tile<Quads>(total, weights.from(me / kWarp * 2 * Sizes::kSide), products, product,
                    first_row, first_panel * kPanel);
}

template <class T, int Quads>
void launch_many(const Launch& on, Products products) {
  using Sizes = Tile<Quads>;
  int warps = 1;
  const unsigned blocks = place_blocks(products, Sizes::kSide, warps);
  // Blocks of the same outputs run side by side and share their weights in the cache.
  launch(on, "linear_f32_many",
         {dim3(static_cast<unsigned>(ceil_div(products.rows, Sizes::kSide)), blocks), kThreads,
          Sizes::kBytes},
         many_rows<T, Quads>, products);
}

template <class T>
void choose_tile(const Launch& on, const Products& products) {
  constexpr std::int64_t kLarge = Tile<2>::kSide;
  std::int64_t blocks = 0;
  for (int i = 0; i < products.count; ++i) blocks += ceil_div(products.list[i].outputs, kLarge);
  // 128 x 128 reads least for what it multiplies; 64 x 64 where that would leave processors idle.
  if (blocks * ceil_div(products.rows, kLarge) >= 132) {
    launch_many<T, 2>(on, products);
  } else {
    launch_many<T, 1>(on, products);
  }
}

}  // namespace

void linear_f32_many(const Launch& on, const Products& products, WeightFormat format) {
  switch (format) {
    case WeightFormat::f32: return choose_tile<float>(on, products);
    case WeightFormat::f16: return choose_tile<f16>(on, products);
    case WeightFormat::bf16: return choose_tile<bf16>(on, products);
    case WeightFormat::coded: break;  // widened before they are packed here
  }
}

}  // namespace perilune::kernels::cuda
