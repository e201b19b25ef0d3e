// linear in mode bf16 for many rows: tiles of rows and outputs. Weights and rounded rows
// (linear_bf16.cu) pass through shared memory, both as mma operands lie in registers, four steps of
// 32 inputs at a time by cp.async. The order of sums is that of linear_device.h: a sum for the
// segment, a total for the output.
#include "kernels/cuda/linear_bf16.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kStages = 4;
constexpr int kUnit = 4 * kWarp;  // words of one operand: four of each lane

/// A block's tile; a warp has Columns * 8 rows and two strips of 16 outputs.
template <int RowWarps, int OutputWarps, int Columns>
struct Tile {
  static constexpr int kWarps = RowWarps * OutputWarps, kThreads = kWarps * kWarp;
  static constexpr int kGroups = RowWarps * Columns, kRows = kGroups * 8;
  static constexpr int kStrips = OutputWarps * 2, kOutputs = kStrips * static_cast<int>(kTile);
  static constexpr int kInputWords = kGroups * kUnit,
                       kWeightWords = kStrips * 2 * kUnit;  // a stage
  // A warp's sums of one strip take the place of its part of the weights when all are multiplied.
  static constexpr int kStaged = Columns * 8 * static_cast<int>(kTile);
  static_assert(kWarps * kStaged <= kStages * kWeightWords);
  // Of a multiprocessor: the sums of a warp are Columns * 16 registers of each lane.
  static constexpr int kBlocks = Columns <= 4 ? 4 : 1;
  static constexpr std::size_t kBytes =
      shared_bytes<float>(kStages * kInputWords) + shared_bytes<float>(kStages * kWeightWords);
  static_assert(shared_fits(kBytes, kBlocks));
};

__device__ __forceinline__ uint4 operand(shared_array<float> from, int index) {
  const float4 word = from.load4(index);
  return make_uint4(__float_as_uint(word.x), __float_as_uint(word.y), __float_as_uint(word.z),
                    __float_as_uint(word.w));
}

/// Where a warp's value (row, output) of a strip waits to be stored: two rows a line of 32, turned
/// so that neither the writing nor the reading of it meets a bank twice.
__device__ __forceinline__ int staged_index(int row, int output) {
  const int line = row / 2;
  return line * 32 + (row % 2 * 16 + output + line * 8) % 32;
}

template <int RowWarps, int OutputWarps, int Columns>
__global__ void __launch_bounds__(RowWarps* OutputWarps* kWarp,
                                  (Tile<RowWarps, OutputWarps, Columns>::kBlocks))
    many_rows(Products products, const uint4* rounded) {
  using T = Tile<RowWarps, OutputWarps, Columns>;
  SharedArena arena;
  auto rows = arena.take<float>(kStages * T::kInputWords);
  auto weights = arena.take<float>(kStages * T::kWeightWords);
  const Product& product = product_of(products, blockIdx.y);
  const int me = static_cast<int>(threadIdx.x), warp = me / kWarp, lane = me % kWarp;
  const int row_warp = warp % RowWarps, output_warp = warp / RowWarps;
  const int tiles = static_cast<int>(ceil_div(products.inputs, kTile));
  const int steps = static_cast<int>(tile_pairs(products.inputs));
  const std::int64_t strips = ceil_div(product.outputs, kTile);
  const std::int64_t groups = ceil_div(products.rows, 8);
  const std::int64_t first_group = static_cast<std::int64_t>(blockIdx.x) * T::kGroups;
  const std::int64_t first_strip =
      static_cast<std::int64_t>(blockIdx.y - product.first_block) * T::kStrips;
  const auto* packed = static_cast<const uint4*>(product.weight);

  const auto load = [&](int step) {
    const int slot = step % kStages;
    if (step < steps) {
#pragma unroll
      for (int i = me; i < T::kGroups * kWarp; i += T::kThreads) {
        const std::int64_t group = first_group + i / kWarp;
        const bool there = group < groups;
        const std::int64_t at = (group * steps + step) * kWarp + i % kWarp;
        ptx::copy_async_16(rows, slot * T::kInputWords + i * 4, rounded + (there ? at : 0), there);
      }
#pragma unroll
      for (int i = me; i < T::kStrips * 2 * kWarp; i += T::kThreads) {
        const std::int64_t strip = first_strip + i / (2 * kWarp);
        const int tile = step * 2 + i / kWarp % 2;
        const bool there = strip < strips && tile < tiles;
        const std::int64_t at = (strip * tiles + tile) * kWarp + i % kWarp;
        ptx::copy_async_16(weights, slot * T::kWeightWords + i * 4, packed + (there ? at : 0),
                           there);
      }
    }
    ptx::copy_async_commit();
  };

  for (int step = 0; step < kStages - 1; ++step) load(step);
  const int segment_steps = product.segments.length / 32;
  int left = segment_steps;  // of this segment
  float total[2][Columns][4] = {}, sum[2][Columns][4] = {};
  for (int step = 0; step < steps; ++step) {
    ptx::copy_async_wait<kStages - 2>();
    __syncthreads();           // this step is there for all, and the one before read by all
    load(step + kStages - 1);  // into its place
    const int slot = step % kStages;
    uint4 a[2][2], b[Columns];
#pragma unroll
    for (int s = 0; s < 2; ++s) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        a[s][half] = operand(weights, slot * T::kWeightWords +
                                          ((output_warp * 2 + s) * 2 + half) * kUnit + lane * 4);
      }
    }
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
      b[c] = operand(rows, slot * T::kInputWords + (row_warp * Columns + c) * kUnit + lane * 4);
    }
    multiply_tiles(sum, a, b, 0);
    if (step * 2 + 1 < tiles) multiply_tiles(sum, a, b, 1);
    if (--left > 0 && step + 1 < steps) continue;
    left = segment_steps;
#pragma unroll
    for (int s = 0; s < 2; ++s) {
#pragma unroll
      for (int c = 0; c < Columns; ++c) {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          total[s][c][r] = total[s][c][r] + sum[s][c][r];
          sum[s][c][r] = 0.0f;
        }
      }
    }
  }

  ptx::copy_async_wait<0>();
  __syncthreads();
  // Looked up once more: where the product lies must not take registers from the loop above.
  unsigned block = blockIdx.y;
  asm volatile("" : "+r"(block));
  const Product& stored = product_of(products, block);
  auto staged = weights.from(warp * T::kStaged);
#pragma unroll
  for (int s = 0; s < 2; ++s) {
#pragma unroll
    for (int c = 0; c < Columns; ++c) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        staged[staged_index(c * 8 + lane % 4 * 2 + r % 2, lane / 4 + r / 2 * 8)] = total[s][c][r];
      }
    }
    __syncwarp();
#pragma unroll 1
    for (int i = lane; i < T::kStaged; i += kWarp) {
      const int row = i / static_cast<int>(kTile), output = i % static_cast<int>(kTile);
      store_output(products, stored, (first_group + row_warp * Columns) * 8 + row,
                   (first_strip + output_warp * 2 + s) * kTile + output,
                   staged[staged_index(row, output)]);
    }
    __syncwarp();
  }
}

template <int RowWarps, int OutputWarps, int Columns>
void launch_many(const Launch& on, Products products) {
  using T = Tile<RowWarps, OutputWarps, Columns>;
  int warps = 1;
  const unsigned blocks = place_blocks(products, T::kOutputs, warps);
  // Blocks of the same outputs run side by side and share their weights in the cache.
  launch(on, "linear_bf16_many",
         {dim3(static_cast<unsigned>(ceil_div(products.rows, T::kRows)), blocks), T::kThreads,
          T::kBytes},
         many_rows<RowWarps, OutputWarps, Columns>, products,
         static_cast<const uint4*>(on.scratch));
}

}  // namespace

void linear_bf16_many(const Launch& on, const Products& products) {
  using Large = Tile<2, 4, 8>;
  std::int64_t blocks = 0;
  for (int i = 0; i < products.count; ++i) {
    blocks += ceil_div(products.list[i].outputs, Large::kOutputs);
  }
  // 128 x 128 reads least for what it multiplies; 64 x 64 where that would leave processors idle.
  if (blocks * ceil_div(products.rows, Large::kRows) >= 132) {
    launch_many<2, 4, 8>(on, products);
  } else {
    launch_many<2, 2, 4>(on, products);
  }
}

}  // namespace perilune::kernels::cuda
