// linear in mode bf16: out[r, o] = activation(sum over k of bf16(x[r, k]) * w[o, k] * scale +
// bias[o]), products on mma.m16n8k16 with f32 sums, the sum as linear_device.h says. Weights are
// the A operand (16 outputs), rows of x the columns of B (8 a fragment), so that one row fills no
// less of the machine than eight.
#include "kernels/cuda/linear_kernels.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kManyRows = 64, kManyWarps = 8;  // of a block of the kernel for many rows
constexpr int kDepth = 32;                     // inputs that it holds at once
constexpr int kPitch = kDepth + 8;  // elements between rows: ldmatrix meets no bank twice

/// A tile's four registers of this lane.
__device__ __forceinline__ void load_tile(std::uint32_t (&a)[4], const uint4* weight,
                                          std::int64_t tile, int lane) {
  const uint4 word = __ldg(weight + tile * kWarp + lane);
  a[0] = word.x;
  a[1] = word.y;
  a[2] = word.z;
  a[3] = word.w;
}

__device__ __forceinline__ float input_at(const Products& products, std::int64_t row,
                                          std::int64_t k) {
  const bool there = row < products.rows && k < products.inputs;
  return there ? products.x[row * products.x_stride + k] : 0.0f;
}

// A warp has 16 outputs, one segment of inputs and Columns * 8 rows; the block adds its segments.
template <int Columns>
__global__ void __launch_bounds__(kMostSegments* kWarp) few_rows(Products products) {
  SharedArena arena;
  auto sums = arena.take<float>(kMostSegments * Columns * 4 * kWarp);
  const Product& product = product_of(products, blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const std::int64_t tiles = ceil_div(products.inputs, kTile);
  const std::int64_t strip = blockIdx.x - product.first_block;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * Columns * 8;
  const auto* weight = static_cast<const uint4*>(product.weight) + strip * tiles * kWarp;
  const std::int64_t begin = static_cast<std::int64_t>(warp) * product.segments.length / kTile;
  std::int64_t end = begin + product.segments.length / kTile;
  if (end > tiles) end = tiles;
  if (warp >= product.segments.count) end = begin;
  float sum[Columns][4] = {};
  for (std::int64_t tile = begin; tile < end; ++tile) {
    std::uint32_t a[4];
    load_tile(a, weight, tile, lane);
    const std::int64_t k = tile * kTile + 2 * t;
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
      const std::int64_t row = first_row + c * 8 + g;
      const std::uint32_t b[2] = {
          pack_bf16(input_at(products, row, k), input_at(products, row, k + 1)),
          pack_bf16(input_at(products, row, k + 8), input_at(products, row, k + 9))};
      ptx::mma_bf16(sum[c], a, b);
    }
  }
#pragma unroll
  for (int c = 0; c < Columns; ++c) {
#pragma unroll
    for (int r = 0; r < 4; ++r) sums[((warp * Columns + c) * 4 + r) * kWarp + lane] = sum[c][r];
  }
  __syncthreads();
  for (int i = warp; i < Columns * 4; i += static_cast<int>(blockDim.x) / kWarp) {
    const int c = i / 4, r = i % 4;
    float total = 0.0f;
    for (int s = 0; s < product.segments.count; ++s) {
      total = total + sums[((s * Columns + c) * 4 + r) * kWarp + lane];
    }
    store_output(products, product, first_row + c * 8 + 2 * t + r % 2,
                 strip * kTile + g + r / 2 * 8, total);
  }
}

// A block has 64 rows, each of its eight warps 16 outputs; x passes through shared memory, rounded
// once for all of them.
__global__ void __launch_bounds__(kManyWarps* kWarp) many_rows(Products products) {
  constexpr int kColumns = kManyRows / 8;
  SharedArena arena;
  auto x = arena.take<bf16>(kManyRows * kPitch);
  const Product& product = product_of(products, blockIdx.x);
  const int me = static_cast<int>(threadIdx.x), warp = me / kWarp, lane = me % kWarp;
  const std::int64_t tiles = ceil_div(products.inputs, kTile);
  const std::int64_t strips = ceil_div(product.outputs, kTile);
  const std::int64_t strip =
      static_cast<std::int64_t>(blockIdx.x - product.first_block) * kManyWarps + warp;
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kManyRows;
  const auto* weight = static_cast<const uint4*>(product.weight) + strip * tiles * kWarp;
  float total[kColumns][4] = {};
  for (int s = 0; s < product.segments.count; ++s) {
    const std::int64_t begin = static_cast<std::int64_t>(s) * product.segments.length;
    std::int64_t end = begin + product.segments.length;
    if (end > products.inputs) end = products.inputs;
    float sum[kColumns][4] = {};
    for (std::int64_t base = begin; base < end; base += kDepth) {
      __syncthreads();
      for (int i = me; i < kManyRows * kDepth; i += kManyWarps * kWarp) {
        const std::int64_t k = base + i % kDepth;
        x[i / kDepth * kPitch + i % kDepth] =
            to_bf16(k < end ? input_at(products, first_row + i / kDepth, k) : 0.0f);
      }
      __syncthreads();
      for (int half = 0; half < kDepth / kTile; ++half) {
        const std::int64_t tile = base / kTile + half;
        if (tile * kTile >= end || strip >= strips) continue;  // the whole warp alike
        std::uint32_t a[4];
        load_tile(a, weight, tile, lane);
#pragma unroll
        for (int c = 0; c < kColumns; c += 2) {
          // Two fragments of B: rows c * 8 on, inputs of this tile.
          std::uint32_t b[4];
          const int row = c * 8 + lane % 8 + lane / 16 * 8;
          ptx::load_matrix_x4(b, x, row * kPitch + half * kTile + lane / 8 % 2 * 8);
          const std::uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
          ptx::mma_bf16(sum[c], a, low);
          ptx::mma_bf16(sum[c + 1], a, high);
        }
      }
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
#pragma unroll
      for (int r = 0; r < 4; ++r) total[c][r] = total[c][r] + sum[c][r];
    }
  }
  const int g = lane / 4, t = lane % 4;
#pragma unroll
  for (int c = 0; c < kColumns; ++c) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      store_output(products, product, first_row + c * 8 + 2 * t + r % 2,
                   strip * kTile + g + r / 2 * 8, total[c][r]);
    }
  }
}

template <int Columns>
void launch_few(const Launch& on, Products products) {
  int warps = 1;
  const unsigned blocks = place_blocks(products, kTile, warps);
  const dim3 grid(blocks, static_cast<unsigned>(ceil_div(products.rows, Columns * 8)));
  launch(on, "linear_bf16_few",
         {grid, static_cast<unsigned>(warps * kWarp),
          shared_bytes<float>(kMostSegments * Columns * 4 * kWarp)},
         few_rows<Columns>, products);
}

}  // namespace

void linear_bf16(const Launch& on, const Products& given) {
  Products products = given;
  // Up to 32 rows a warp keeps them all, and weights are read once; beyond, rows share what is
  // read.
  if (products.rows <= 8) return launch_few<1>(on, products);
  if (products.rows <= 16) return launch_few<2>(on, products);
  if (products.rows <= 32) return launch_few<4>(on, products);
  int warps = 1;
  const unsigned blocks = place_blocks(products, kManyWarps * kTile, warps);
  const dim3 grid(blocks, static_cast<unsigned>(ceil_div(products.rows, kManyRows)));
  launch(on, "linear_bf16_many", {grid, kManyWarps * kWarp, shared_bytes<bf16>(kManyRows * kPitch)},
         many_rows, products);
}

}  // namespace perilune::kernels::cuda
