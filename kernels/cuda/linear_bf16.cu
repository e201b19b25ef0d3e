// linear in mode bf16: out[r, o] = activation(sum over k of bf16(x[r, k]) * w[o, k] * scale +
// bias[o]), products on mma.m16n8k16 with f32 sums, the sum as linear_device.h says. Weights are
// the A operand (16 outputs, a strip), rows of x the columns of B (8 of them, a group), so that one
// row fills no less of the machine than eight.
//
// For up to eight rows the kernel may begin with the rms_norm of x, whose squares the product that
// made x has summed by pieces (squares.h); for up to 32 a gate and what it is multiplied by may be
// one result: both weights' strips lie with one warp.
//
// From nine rows on, x is first rounded into scratch, as B lies in registers: for each group and
// each pair of tiles (32 inputs) 32 lanes of 16 bytes, [group][pair][lane][4 words]; zeros fill the
// last group and pair. linear_bf16_many.cu reads it too.
#include "kernels/cuda/linear_bf16.h"

#include "kernels/cuda/squares.h"

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

/// From `first` on; zeros beyond the inputs.
__device__ __forceinline__ RowPair load_pair(const float* from, bool aligned, std::int64_t inputs,
                                             std::int64_t first) {
  RowPair pair;
#pragma unroll
  for (int h = 0; h < 4; ++h) {
    const std::int64_t k = first + h * 8;
    pair.half[h] = make_float2(0.0f, 0.0f);
    if (k >= inputs) continue;
    if (aligned) {
      pair.half[h] = __ldg(reinterpret_cast<const float2*>(from + k));
    } else {
      pair.half[h].x = from[k];
      if (k + 1 < inputs) pair.half[h].y = from[k + 1];
    }
  }
  return pair;
}

__device__ __forceinline__ RowPair load_row_pair(const Products& products, bool aligned,
                                                 std::int64_t row, std::int64_t first) {
  const std::int64_t inputs = row < products.rows ? products.inputs : 0;
  return load_pair(products.x + row * products.x_stride, aligned, inputs, first);
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

/// What the normed row's elements are multiplied by; nothing where x is multiplied as it is.
template <bool Normed>
struct Gain {
  __device__ __forceinline__ void load(const Products&, std::int64_t, int) {}
};
template <>
struct Gain<true> {
  RowPair value;
  __device__ __forceinline__ void load(const Products& products, std::int64_t pair, int lane) {
    const float* weight = products.norm_weight;
    if (weight == nullptr) {
#pragma unroll
      for (float2& half : value.half) half = make_float2(1.0f, 1.0f);
      return;
    }
    value = load_pair(weight, reinterpret_cast<std::uintptr_t>(weight) % 8 == 0, products.inputs,
                      pair * 2 * kTile + lane % 4 * 2);
  }
  __device__ __forceinline__ uint4 words(RowPair x, float inverse, float offset) const {
#pragma unroll
    for (int h = 0; h < 4; ++h) {
      x.half[h].x = normed(x.half[h].x, inverse, value.half[h].x, offset);
      x.half[h].y = normed(x.half[h].y, inverse, value.half[h].y, offset);
    }
    return x.words();
  }
};

/// Operands of `Ahead` pairs of tiles, in registers.
template <class Form>
struct Operands {
  uint4 weights[Form::kAhead][Form::kStrips][2];
  Input<Form::kRounded> inputs[Form::kAhead][Form::kColumns];
  Gain<Form::kNormed> gains[Form::kAhead];
};

/// How a product of few rows is cut: a warp has Strips * 16 outputs, one segment of inputs and
/// Columns * 8 rows, and the operands of Ahead pairs of tiles on their way. Gated: the strips are
/// one of each weight.
template <int Columns, int Strips, int Ahead, bool Rounded, bool Gated, bool Normed>
struct FewForm {
  static constexpr int kColumns = Columns, kStrips = Strips, kAhead = Ahead;
  static constexpr bool kRounded = Rounded, kGated = Gated, kNormed = Normed;
  static constexpr int kSums = Strips * Columns * 4;  // of a lane
  static constexpr int kResults = Columns == 1 ? 8 * static_cast<int>(kTile) : 0;
  static_assert(!Gated || Strips == 2);
  static_assert(!Normed || (Columns == 1 && !Rounded));

  __host__ __device__ static constexpr std::size_t bytes(int warps) {
    return shared_bytes<float>(warps * kSums * kWarp) + shared_bytes<float>(kResults) +
           shared_bytes<float>(8);
  }
};

/// The sum of an output over its segments.
__device__ __forceinline__ float segments_sum(const shared_array<float>& sums, int sums_a_lane,
                                              int i, int segments) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float total = 0.0f;
  for (int segment = 0; segment < segments; ++segment) {
    total = total + sums[(segment * sums_a_lane + i) * kWarp + lane];
  }
  return total;
}

/// One over the roots of the rows' mean squares, to shared memory: a warp a row.
__device__ __forceinline__ void find_inverses(const Products& products,
                                              const shared_array<float>& inverses) {
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const auto pieces = static_cast<int>(products.inputs / kSquared);
  for (int row = static_cast<int>(threadIdx.x) / kWarp; row < 8; row += warps) {
    float inverse = 0.0f;
    if (row < products.rows) {
      inverse = inverse_root(products.squares_of_x + static_cast<std::int64_t>(row) * pieces,
                             pieces, products.norm_epsilon);
    }
    if (threadIdx.x % kWarp == 0) inverses[row] = inverse;
  }
  __syncthreads();
}

/// The sums of squares of what a block stored, for the product that reads its rows: a strip is a
/// piece. One warp, four lanes a row.
__device__ __forceinline__ void store_squares(const Products& products, const Product& product,
                                              std::int64_t strip,
                                              const shared_array<float>& results) {
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  const int lane = static_cast<int>(threadIdx.x), row = lane / 4;
  float four[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) four[i] = results[lane * 4 + i];
  const float piece = join_piece(plus_squares(0.0f, four));
  if (lane % 4 != 0 || row >= products.rows) return;
  products.squares[row * (product.outputs / kSquared) + strip] = piece;
}

// The block adds its warps' segments. While a warp multiplies, the next operands are on their way
// from memory.
template <class Form>
__global__ void __launch_bounds__(kMostSegments* kWarp, 1)
    few_rows(Products products, const uint4* rounded) {
  constexpr int kColumns = Form::kColumns, kStrips = Form::kStrips, kSums = Form::kSums;
  static_assert(shared_fits(Form::bytes(kMostSegments), 1));
  SharedArena arena;
  auto sums = arena.take<float>(static_cast<std::int64_t>(blockDim.x) * kSums);
  auto results = arena.take<float>(Form::kResults);
  auto inverses = arena.take<float>(8);
  const Product& product = product_of(products, blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t tiles = ceil_div(products.inputs, kTile);
  const std::int64_t strips = ceil_div(product.outputs, kTile);
  const std::int64_t first_strip =
      static_cast<std::int64_t>(blockIdx.x - product.first_block) * (Form::kGated ? 1 : kStrips);
  const std::int64_t first_group = static_cast<std::int64_t>(blockIdx.y) * kColumns;
  const uint4* weights[Form::kGated ? 2 : 1];
  weights[0] = static_cast<const uint4*>(product.weight) + lane;
  if constexpr (Form::kGated) {
    weights[1] = static_cast<const uint4*>(products.list[1].weight) + lane;
  }
  const bool aligned = pairs_aligned(products);
  const std::int64_t begin = static_cast<std::int64_t>(warp) * product.segments.length / 32;
  std::int64_t end = begin + product.segments.length / 32;
  if (end > tile_pairs(products.inputs)) end = tile_pairs(products.inputs);
  if (warp >= product.segments.count) end = begin;

  using Stage = Operands<Form>;
  const auto load = [&](Stage& stage, std::int64_t first) {
#pragma unroll
    for (int i = 0; i < Form::kAhead; ++i) {
      const std::int64_t pair = first + i;
      if (pair >= end) continue;  // the whole warp alike, as below
#pragma unroll
      for (int s = 0; s < kStrips; ++s) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const std::int64_t tile = pair * 2 + half, strip = first_strip + (Form::kGated ? 0 : s);
          stage.weights[i][s][half] = make_uint4(0, 0, 0, 0);
          if (tile >= tiles || strip >= strips) continue;
          stage.weights[i][s][half] =
              __ldg(weights[Form::kGated ? s : 0] + (strip * tiles + tile) * kWarp);
        }
      }
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        stage.inputs[i][c].load(products, rounded, aligned, first_group + c, pair, lane);
      }
      stage.gains[i].load(products, pair, lane);
    }
  };

  float sum[kStrips][kColumns][4] = {};
  Stage next = {};
  load(next, begin);
  float inverse = 0.0f;  // of this lane's row
  if constexpr (Form::kNormed) {
    find_inverses(products, inverses);
    inverse = inverses[lane / 4];
  }
  for (std::int64_t pair = begin; pair < end; pair += Form::kAhead) {
    const Stage now = next;
    load(next, pair + Form::kAhead);
#pragma unroll
    for (int i = 0; i < Form::kAhead; ++i) {
      if (pair + i >= end) continue;
      uint4 b[kColumns];
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        if constexpr (Form::kNormed) {
          b[c] = now.gains[i].words(now.inputs[i][c].value, inverse, products.norm_offset);
        } else {
          b[c] = now.inputs[i][c].words();
        }
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // A tile of zeros would turn a sum of -0 to 0; the many-row kernel skips it too.
        if ((pair + i) * 2 + half >= tiles) continue;
        multiply_tiles(sum, now.weights[i], b, half);
      }
    }
  }

#pragma unroll
  for (int s = 0; s < kStrips; ++s) {
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        sums[(warp * kSums + (s * kColumns + c) * 4 + r) * kWarp + lane] = sum[s][c][r];
      }
    }
  }
  __syncthreads();
  const int segments = product.segments.count, warps = static_cast<int>(blockDim.x) / kWarp;
  for (int i = warp; i < (Form::kGated ? kColumns * 4 : kSums); i += warps) {
    const int s = i / (kColumns * 4), c = i / 4 % kColumns, r = i % 4;
    const std::int64_t row = (first_group + c) * 8 + lane % 4 * 2 + r % 2;
    const std::int64_t output = (first_strip + s) * kTile + lane / 4 + r / 2 * 8;
    const float total = segments_sum(sums, kSums, i, segments);
    if constexpr (Form::kGated) {
      const float other = segments_sum(sums, kSums, kColumns * 4 + i, segments);
      if (row >= products.rows || output >= product.outputs) continue;
      product.out[row * product.out_stride + output] =
          output_of(products, product, output, total) *
          output_of(products, products.list[1], output, other);
    } else {
      const float stored = store_output(products, product, row, output, total);
      if constexpr (Form::kResults > 0) {
        results[(lane % 4 * 2 + r % 2) * kTile + lane / 4 + r / 2 * 8] = stored;
      }
    }
  }
  if constexpr (Form::kResults > 0 && !Form::kGated && kStrips == 1) {
    if (products.squares != nullptr) store_squares(products, product, first_strip, results);
  }
}

template <int Columns, int Strips, int Ahead, bool Rounded, bool Gated = false, bool Normed = false>
void launch_few(const Launch& on, Products products) {
  using Form = FewForm<Columns, Strips, Ahead, Rounded, Gated, Normed>;
  int warps = 1;
  unsigned blocks = place_blocks(products, (Gated ? 1 : Strips) * kTile, warps);
  if (Gated) blocks = products.list[1].first_block;  // the other weight's are the same
  launch(on, "linear_bf16_few",
         {dim3(blocks, static_cast<unsigned>(ceil_div(products.rows, Columns * 8))),
          static_cast<unsigned>(warps * kWarp), Form::bytes(warps)},
         few_rows<Form>, products, static_cast<const uint4*>(on.scratch));
}

void linear_eight_rows(const Launch& on, const Products& products, bool gated) {
  const bool normed = products.squares_of_x != nullptr;
  if (gated && normed) return launch_few<1, 2, 2, false, true, true>(on, products);
  if (gated) return launch_few<1, 2, 2, false, true>(on, products);
  if (normed) return launch_few<1, 1, 4, false, false, true>(on, products);
  launch_few<1, 1, 4, false>(on, products);
}

}  // namespace

std::size_t linear_bf16_scratch(std::int64_t rows, std::int64_t inputs) {
  if (rows <= kSquaresRows) return 0;
  return static_cast<std::size_t>(ceil_div(rows, 8) * tile_pairs(inputs)) * kWarp * 16;
}

void linear_bf16(const Launch& on, const Products& products, bool gated) {
  // Up to 32 rows a warp keeps them all, and weights are read once; beyond, tiles of rows share
  // what is read. Bound by memory: a warp a segment, blocks enough for every processor at one row.
  if (products.rows <= kSquaresRows) return linear_eight_rows(on, products, gated);
  const std::int64_t pairs = tile_pairs(products.inputs);
  const std::int64_t count = ceil_div(products.rows, 8) * pairs * kWarp;
  launch(on, "linear_bf16_round",
         {dim3(static_cast<unsigned>(ceil_div(count, kRoundThreads))), kRoundThreads}, round_rows,
         products, static_cast<uint4*>(on.scratch), pairs, count);
  if (products.rows > kGatedRows) return linear_bf16_many(on, products);
  if (products.rows <= 16) {
    if (gated) return launch_few<2, 2, 2, true, true>(on, products);
    return launch_few<2, 2, 2, true>(on, products);
  }
  if (gated) return launch_few<4, 2, 2, true, true>(on, products);
  launch_few<4, 2, 2, true>(on, products);
}

}  // namespace perilune::kernels::cuda
