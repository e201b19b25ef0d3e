// linear in mode bf16: out[r, o] = activation(sum over k of bf16(x[r, k]) * w[o, k] * scale +
// bias[o]), products on mma.m16n8k16 with f32 sums, the sum as linear_device.h says. Weights are
// the A operand (16 outputs, a strip), rows of x the columns of B (8 of them, a group), so that one
// row fills no less of the machine than eight.
//
// From nine rows on, x is first rounded into scratch, as B lies in registers: for each group and
// each pair of tiles (32 inputs) 32 lanes of 16 bytes, [group][pair][lane][4 words]; zeros fill the
// last group and pair. linear_bf16_many.cu reads it too.
#include "kernels/cuda/linear_bf16.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kRoundThreads = 256;

/// What a lane gives to B for a row and a pair of tiles: inputs k, k + 1 of each half tile.
struct RowPair {
  float2 half[4];
  __device__ __forceinline__ uint4 words() const {
    return make_uint4(pack_bf16(half[0].x, half[0].y), pack_bf16(half[1].x, half[1].y),
                      pack_bf16(half[2].x, half[2].y), pack_bf16(half[3].x, half[3].y));
  }
};

/// Whether pairs of inputs may be read eight bytes at a time.
__device__ __forceinline__ bool pairs_aligned(const Products& products) {
  return (reinterpret_cast<std::uintptr_t>(products.x) % 8 | products.x_stride % 2 |
          products.inputs % 2) == 0;
}

__device__ __forceinline__ RowPair load_row_pair(const Products& products, bool aligned,
                                                 std::int64_t row, std::int64_t first) {
  RowPair pair;
  const float* x = products.x + row * products.x_stride;
#pragma unroll
  for (int h = 0; h < 4; ++h) {
    const std::int64_t k = first + h * 8;
    pair.half[h] = make_float2(0.0f, 0.0f);
    if (row >= products.rows || k >= products.inputs) continue;
    if (aligned) {
      pair.half[h] = __ldg(reinterpret_cast<const float2*>(x + k));
    } else {
      pair.half[h].x = x[k];
      if (k + 1 < products.inputs) pair.half[h].y = x[k + 1];
    }
  }
  return pair;
}

// A thread a lane of B: reads eight inputs, writes sixteen bytes.
__global__ void __launch_bounds__(kRoundThreads)
    round_rows(Products products, uint4* rounded, std::int64_t pairs, std::int64_t count) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kRoundThreads + threadIdx.x;
  if (index >= count) return;
  const int lane = static_cast<int>(index % kWarp);
  const std::int64_t pair = index / kWarp % pairs, group = index / kWarp / pairs;
  rounded[index] = load_row_pair(products, pairs_aligned(products), group * 8 + lane / 4,
                                 pair * 2 * kTile + lane % 4 * 2)
                       .words();
}

/// B of a group and a pair of tiles on its way: read from x, or from what round_rows left.
template <bool Rounded>
struct Input {
  RowPair value;
  __device__ __forceinline__ void load(const Products& products, const uint4*, bool aligned,
                                       std::int64_t group, std::int64_t pair, int lane) {
    value = load_row_pair(products, aligned, group * 8 + lane / 4, pair * 2 * kTile + lane % 4 * 2);
  }
  __device__ __forceinline__ uint4 words() const { return value.words(); }
};
template <>
struct Input<true> {
  uint4 value;
  __device__ __forceinline__ void load(const Products& products, const uint4* rounded, bool,
                                       std::int64_t group, std::int64_t pair, int lane) {
    value = make_uint4(0, 0, 0, 0);
    if (group * 8 >= products.rows) return;
    value = __ldg(rounded + (group * tile_pairs(products.inputs) + pair) * kWarp + lane);
  }
  __device__ __forceinline__ uint4 words() const { return value; }
};

/// Operands of `Ahead` pairs of tiles, in registers.
template <int Columns, int Strips, int Ahead, bool Rounded>
struct Operands {
  uint4 weights[Ahead][Strips][2];
  Input<Rounded> inputs[Ahead][Columns];
};

template <int Columns, int Strips>
__host__ __device__ constexpr std::size_t few_bytes(int warps) {
  return shared_bytes<float>(warps * Strips * Columns * 4 * kWarp);
}

// A warp has Strips * 16 outputs, one segment of inputs and Columns * 8 rows; the block adds its
// segments. While it multiplies, the next operands are on their way from memory.
template <int Columns, int Strips, int Ahead, bool Rounded>
__global__ void __launch_bounds__(kMostSegments* kWarp, 1)
    few_rows(Products products, const uint4* rounded) {
  constexpr int kSums = Strips * Columns * 4;
  static_assert(shared_fits(few_bytes<Columns, Strips>(kMostSegments), 1));
  SharedArena arena;
  auto sums = arena.take<float>(static_cast<std::int64_t>(blockDim.x) * kSums);
  const Product& product = product_of(products, blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t tiles = ceil_div(products.inputs, kTile);
  const std::int64_t strips = ceil_div(product.outputs, kTile);
  const std::int64_t first_strip =
      static_cast<std::int64_t>(blockIdx.x - product.first_block) * Strips;
  const std::int64_t first_group = static_cast<std::int64_t>(blockIdx.y) * Columns;
  const auto* weight = static_cast<const uint4*>(product.weight) + lane;
  const bool aligned = pairs_aligned(products);
  const std::int64_t begin = static_cast<std::int64_t>(warp) * product.segments.length / 32;
  std::int64_t end = begin + product.segments.length / 32;
  if (end > tile_pairs(products.inputs)) end = tile_pairs(products.inputs);
  if (warp >= product.segments.count) end = begin;

  using Stage = Operands<Columns, Strips, Ahead, Rounded>;
  const auto load = [&](Stage& stage, std::int64_t first) {
#pragma unroll
    for (int i = 0; i < Ahead; ++i) {
      const std::int64_t pair = first + i;
      if (pair >= end) continue;  // the whole warp alike, as below
#pragma unroll
      for (int s = 0; s < Strips; ++s) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const std::int64_t tile = pair * 2 + half, strip = first_strip + s;
          stage.weights[i][s][half] = make_uint4(0, 0, 0, 0);
          if (tile >= tiles || strip >= strips) continue;
          stage.weights[i][s][half] = __ldg(weight + (strip * tiles + tile) * kWarp);
        }
      }
#pragma unroll
      for (int c = 0; c < Columns; ++c) {
        stage.inputs[i][c].load(products, rounded, aligned, first_group + c, pair, lane);
      }
    }
  };

  float sum[Strips][Columns][4] = {};
  Stage next = {};
  load(next, begin);
  for (std::int64_t pair = begin; pair < end; pair += Ahead) {
    const Stage now = next;
    load(next, pair + Ahead);
#pragma unroll
    for (int i = 0; i < Ahead; ++i) {
      if (pair + i >= end) continue;
      uint4 b[Columns];
#pragma unroll
      for (int c = 0; c < Columns; ++c) b[c] = now.inputs[i][c].words();
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // A tile of zeros would turn a sum of -0 to 0; the many-row kernel skips it too.
        if ((pair + i) * 2 + half >= tiles) continue;
        multiply_tiles(sum, now.weights[i], b, half);
      }
    }
  }

#pragma unroll
  for (int s = 0; s < Strips; ++s) {
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        sums[(warp * kSums + (s * Columns + c) * 4 + r) * kWarp + lane] = sum[s][c][r];
      }
    }
  }
  __syncthreads();
  for (int i = warp; i < kSums; i += static_cast<int>(blockDim.x) / kWarp) {
    const int s = i / (Columns * 4), c = i / 4 % Columns, r = i % 4;
    float total = 0.0f;
    for (int segment = 0; segment < product.segments.count; ++segment) {
      total = total + sums[(segment * kSums + i) * kWarp + lane];
    }
    store_output(products, product, (first_group + c) * 8 + lane % 4 * 2 + r % 2,
                 (first_strip + s) * kTile + lane / 4 + r / 2 * 8, total);
  }
}

template <int Columns, int Strips, int Ahead, bool Rounded>
void launch_few(const Launch& on, Products products) {
  int warps = 1;
  const unsigned blocks = place_blocks(products, Strips * kTile, warps);
  launch(on, "linear_bf16_few",
         {dim3(blocks, static_cast<unsigned>(ceil_div(products.rows, Columns * 8))),
          static_cast<unsigned>(warps * kWarp), few_bytes<Columns, Strips>(warps)},
         few_rows<Columns, Strips, Ahead, Rounded>, products,
         static_cast<const uint4*>(on.scratch));
}

}  // namespace

std::size_t linear_bf16_scratch(std::int64_t rows, std::int64_t inputs) {
  if (rows <= 8) return 0;
  return static_cast<std::size_t>(ceil_div(rows, 8) * tile_pairs(inputs)) * kWarp * 16;
}

void linear_bf16(const Launch& on, const Products& products) {
  // Up to 32 rows a warp keeps them all, and weights are read once; beyond, tiles of rows share
  // what is read. Bound by memory: a warp a segment, blocks enough for every processor at one row.
  if (products.rows <= 8) return launch_few<1, 1, 4, false>(on, products);
  const std::int64_t pairs = tile_pairs(products.inputs);
  const std::int64_t count = ceil_div(products.rows, 8) * pairs * kWarp;
  launch(on, "linear_bf16_round",
         {dim3(static_cast<unsigned>(ceil_div(count, kRoundThreads))), kRoundThreads}, round_rows,
         products, static_cast<uint4*>(on.scratch), pairs, count);
  if (products.rows <= 16) return launch_few<2, 2, 2, true>(on, products);
  if (products.rows <= 32) return launch_few<4, 2, 2, true>(on, products);
  linear_bf16_many(on, products);
}

}  // namespace perilune::kernels::cuda
