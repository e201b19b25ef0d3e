// linear in mode f32: out[r, o] = activation(sum over k of x[r, k] * w[o, k] * scale + bias[o]) in
// true f32, the sum as linear_device.h says. Weights f32, f16 or bf16, widened exactly.
#include "kernels/cuda/linear_kernels.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kFewRows = 8;    // rows of a block of the kernel for few
constexpr int kManyRows = 64;  // of the kernel for many
constexpr int kDepth = 16;     // inputs that it holds at once
constexpr int kManyThreads = 256;

// A warp has one panel (a lane an output) and one segment of inputs; the block adds its segments.
// Weights are read once for all rows of the block; x is the same for all lanes.
template <class T>
__global__ void __launch_bounds__(kMostSegments* kWarp) few_rows(Products products) {
  SharedArena arena;
  auto sums = arena.take<float>(kMostSegments * kFewRows * kWarp);
  const Product& product = product_of(products, blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t panel = blockIdx.x - product.first_block;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kFewRows;
  const std::int64_t inputs = products.inputs;
  const std::int64_t begin = static_cast<std::int64_t>(warp) * product.segments.length;
  std::int64_t end = begin + product.segments.length;
  if (end > inputs) end = inputs;
  const T* weight = static_cast<const T*>(product.weight) + panel * inputs * kPanel + lane;
  float sum[kFewRows] = {};
  for (std::int64_t k = begin; k < end; ++k) {
    const float w = to_float(weight[k * kPanel]);
#pragma unroll
    for (int r = 0; r < kFewRows; ++r) {
      if (first_row + r < products.rows) {
        sum[r] = fmaf(products.x[(first_row + r) * products.x_stride + k], w, sum[r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kFewRows; ++r) sums[(warp * kFewRows + r) * kWarp + lane] = sum[r];
  __syncthreads();
  for (int r = warp; r < kFewRows; r += static_cast<int>(blockDim.x) / kWarp) {
    float total = 0.0f;
    for (int s = 0; s < product.segments.count; ++s) {
      total = total + sums[(s * kFewRows + r) * kWarp + lane];
    }
    store_output(products, product, first_row + r, panel * kPanel + lane, total);
  }
}

// A block has two panels (64 outputs) and 64 rows, a thread four of each; inputs pass through
// shared memory sixteen at a time.
template <class T>
__global__ void __launch_bounds__(kManyThreads) many_rows(Products products) {
  SharedArena arena;
  auto weights = arena.take<float>(kDepth * 2 * kPanel);  // [input][output]
  auto x = arena.take<float>(kDepth * kManyRows);         // [input][row]
  const Product& product = product_of(products, blockIdx.x);
  const int me = static_cast<int>(threadIdx.x), column = me % 16 * 4, line = me / 16 * 4;
  const std::int64_t pair = (blockIdx.x - product.first_block) * 2;
  const std::int64_t panels = ceil_div(product.outputs, kPanel);
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kManyRows;
  const std::int64_t inputs = products.inputs;
  const T* weight = static_cast<const T*>(product.weight);
  float total[4][4] = {};
  for (int s = 0; s < product.segments.count; ++s) {
    const std::int64_t begin = static_cast<std::int64_t>(s) * product.segments.length;
    std::int64_t end = begin + product.segments.length;
    if (end > inputs) end = inputs;
    float sum[4][4] = {};
    for (std::int64_t base = begin; base < end; base += kDepth) {
      __syncthreads();
      for (int i = me; i < kDepth * 2 * kPanel; i += kManyThreads) {
        const std::int64_t k = base + i / (2 * kPanel);
        const std::int64_t panel = pair + i / kPanel % 2;
        const bool there = k < end && panel < panels;
        weights[i] = there ? to_float(weight[(panel * inputs + k) * kPanel + i % kPanel]) : 0.0f;
      }
      for (int i = me; i < kDepth * kManyRows; i += kManyThreads) {
        const std::int64_t k = base + i % kDepth, row = first_row + i / kDepth;
        const bool there = k < end && row < products.rows;
        x[i % kDepth * kManyRows + i / kDepth] =
            there ? products.x[row * products.x_stride + k] : 0.0f;
      }
      __syncthreads();
      const int depth = end - base < kDepth ? static_cast<int>(end - base) : kDepth;
      for (int k = 0; k < depth; ++k) {
        const float4 w = weights.load4(k * 2 * kPanel + column);
        const float4 rows = x.load4(k * kManyRows + line);
        const float w4[4] = {w.x, w.y, w.z, w.w}, x4[4] = {rows.x, rows.y, rows.z, rows.w};
#pragma unroll
        for (int r = 0; r < 4; ++r) {
#pragma unroll
          for (int o = 0; o < 4; ++o) sum[r][o] = fmaf(x4[r], w4[o], sum[r][o]);
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
#pragma unroll
      for (int o = 0; o < 4; ++o) total[r][o] = total[r][o] + sum[r][o];
    }
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
#pragma unroll
    for (int o = 0; o < 4; ++o) {
      store_output(products, product, first_row + line + r, pair * kPanel + column + o,
                   total[r][o]);
    }
  }
}

template <class T>
void launch_f32(const Launch& on, Products products) {
  if (products.rows <= 4 * kFewRows) {
    // A warp a segment; rows eight at a time, so that a decode step reads weights once.
    int warps = 1;
    const unsigned blocks = place_blocks(products, kPanel, warps);
    const dim3 grid(blocks, static_cast<unsigned>(ceil_div(products.rows, kFewRows)));
    launch(on, "linear_f32_few",
           {grid, static_cast<unsigned>(warps * kWarp),
            shared_bytes<float>(kMostSegments * kFewRows * kWarp)},
           few_rows<T>, products);
    return;
  }
  // 64 x 64 outputs a block: sixteen products for every eight values read from shared memory.
  int warps = 1;
  const unsigned blocks = place_blocks(products, 2 * kPanel, warps);
  const dim3 grid(blocks, static_cast<unsigned>(ceil_div(products.rows, kManyRows)));
  launch(on, "linear_f32_many",
         {grid, kManyThreads,
          shared_bytes<float>(kDepth * 2 * kPanel) + shared_bytes<float>(kDepth * kManyRows)},
         many_rows<T>, products);
}

}  // namespace

void linear_f32(const Launch& on, const Products& products, WeightFormat format) {
  switch (format) {
    case WeightFormat::f32: return launch_f32<float>(on, products);
    case WeightFormat::f16: return launch_f32<f16>(on, products);
    case WeightFormat::bf16: return launch_f32<bf16>(on, products);
  }
}

}  // namespace perilune::kernels::cuda
