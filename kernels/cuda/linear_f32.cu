// linear in mode f32: out[r, o] = activation(sum over k of x[r, k] * w[o, k] * scale + bias[o]) in
// true f32, the sum as linear_device.h says. Weights f32, f16 or bf16, widened exactly.
#include "kernels/cuda/linear_kernels.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kFewRows = 32;  // more go to linear_f32_many.cu
constexpr int kChunk = 16;    // inputs that a warp holds at once

template <int Rows>
__host__ __device__ constexpr std::size_t few_bytes(int warps) {
  return shared_bytes<float>(warps * kWarp * Rows) + shared_bytes<float>(warps * Rows * kChunk);
}
/// Blocks of a multiprocessor, as the registers of so many rows allow.
template <int Rows>
[[maybe_unused]] inline constexpr int kBlocks = Rows == 1 ? 4 : (Rows <= 4 ? 3 : 2);

// A warp has one panel (a lane an output), one segment of inputs and `Rows` rows; the block adds
// its segments. While it multiplies a chunk of inputs, the next is on its way from memory; x goes
// through shared memory, where one read of four inputs serves all lanes.
template <class T, int Rows>
__global__ void __launch_bounds__(kMostSegments* kWarp, kBlocks<Rows>) few_rows(Products products) {
  static_assert(shared_fits(few_bytes<Rows>(kMostSegments), kBlocks<Rows>));
  constexpr int kHeld = (Rows * kChunk + kWarp - 1) / kWarp;  // elements of x of a lane
  SharedArena arena;
  auto sums = arena.take<float>(static_cast<std::int64_t>(blockDim.x) * Rows);
  auto chunks = arena.take<float>(static_cast<std::int64_t>(blockDim.x) / kWarp * Rows * kChunk);
  const Product& product = product_of(products, blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t panel = blockIdx.x - product.first_block;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * Rows;
  const std::int64_t inputs = products.inputs;
  const std::int64_t begin = static_cast<std::int64_t>(warp) * product.segments.length;
  std::int64_t end = begin + product.segments.length;
  if (end > inputs) end = inputs;
  if (warp >= product.segments.count) end = begin;
  const T* weight = static_cast<const T*>(product.weight) + panel * inputs * kPanel + lane;
  auto mine = chunks.from(warp * Rows * kChunk);  // [row][input]

  T next[kChunk] = {};
  float next_x[kHeld] = {};
  const auto load = [&](std::int64_t base) {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      if (base + i < end) next[i] = weight[(base + i) * kPanel];
    }
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int at = lane + i * kWarp;
      const std::int64_t row = first_row + at / kChunk, k = base + at % kChunk;
      next_x[i] = 0.0f;
      if (at < Rows * kChunk && row < products.rows && k < end) {
        next_x[i] = products.x[row * products.x_stride + k];
      }
    }
  };

  float sum[Rows] = {};
  load(begin);
  for (std::int64_t base = begin; base < end; base += kChunk) {
    float now[kChunk];
#pragma unroll
    for (int i = 0; i < kChunk; ++i) now[i] = to_float(next[i]);
    __syncwarp();  // the chunk before has been read
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      if (lane + i * kWarp < Rows * kChunk) mine[lane + i * kWarp] = next_x[i];
    }
    __syncwarp();
    load(base + kChunk);
#pragma unroll
    for (int i = 0; i < kChunk; i += 4) {
#pragma unroll
      for (int r = 0; r < Rows; ++r) {
        if (first_row + r >= products.rows) continue;  // the whole block alike
        const float4 x = mine.load4(r * kChunk + i);
        // No product beyond the end: adding 0 would turn a sum of -0 to 0.
        if (base + i < end) sum[r] = fmaf(x.x, now[i], sum[r]);
        if (base + i + 1 < end) sum[r] = fmaf(x.y, now[i + 1], sum[r]);
        if (base + i + 2 < end) sum[r] = fmaf(x.z, now[i + 2], sum[r]);
        if (base + i + 3 < end) sum[r] = fmaf(x.w, now[i + 3], sum[r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < Rows; ++r) sums[(warp * Rows + r) * kWarp + lane] = sum[r];
  __syncthreads();
  for (int r = warp; r < Rows; r += static_cast<int>(blockDim.x) / kWarp) {
    float total = 0.0f;
    for (int s = 0; s < product.segments.count; ++s) {
      total = total + sums[(s * Rows + r) * kWarp + lane];
    }
    store_output(products, product, first_row + r, panel * kPanel + lane, total);
  }
}

template <class T, int Rows>
void launch_few(const Launch& on, Products products) {
  int warps = 1;
  const unsigned blocks = place_blocks(products, kPanel, warps);
  launch(on, "linear_f32_few",
         {dim3(blocks, static_cast<unsigned>(ceil_div(products.rows, Rows))),
          static_cast<unsigned>(warps * kWarp), few_bytes<Rows>(warps)},
         few_rows<T, Rows>, products);
}

// A warp a segment; rows eight at a time, so that a decode step reads weights once from memory and
// from the cache after that.
template <class T>
void launch_f32(const Launch& on, const Products& products) {
  if (products.rows == 1) return launch_few<T, 1>(on, products);
  if (products.rows <= 4) return launch_few<T, 4>(on, products);
  launch_few<T, 8>(on, products);
}

}  // namespace

void linear_f32(const Launch& on, const Products& products, WeightFormat format) {
  if (products.rows > kFewRows) return linear_f32_many(on, products, format);
  switch (format) {
    case WeightFormat::f32: return launch_f32<float>(on, products);
    case WeightFormat::f16: return launch_f32<f16>(on, products);
    case WeightFormat::bf16: return launch_f32<bf16>(on, products);
    case WeightFormat::coded: break;  // widened before they are packed here
  }
}

}  // namespace perilune::kernels::cuda
