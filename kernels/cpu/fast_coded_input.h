// Rows of x rounded to bytes for mode int8, and what products with a kind of codes start from.
//
// Rows go tile by tile, a tile block by block, so that a tile of products reads one stream from
// begin to end.
#pragma once

#include "kernels/cpu/fast_coded.h"
#include "kernels/cpu/fast_linear.h"
#include "kernels/cpu/parallel.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

/// What a group has beside its scale.
enum class CodeOffset : std::uint8_t { none, minimum, zero_point };

PERILUNE_INLINE CodeOffset offset_of(const Coding& coding) {
  if (coding.zero_points) return CodeOffset::zero_point;
  return coding.minimum ? CodeOffset::minimum : CodeOffset::none;
}
/// Groups of a block, and how much codes are above what they stand for where they are multiplied.
PERILUNE_INLINE std::int64_t groups_of(const Coding& coding) {
  return coding.group < kCodedBlock ? 2 : 1;
}
PERILUNE_INLINE std::int32_t bias_of(const Coding& coding) {
  if (counts_from_zero(kind_of(coding))) return coding.zero;
  return kDotBiased && kind_of(coding) != CodeKind::levels ? 128 : 0;
}
/// Whether what starts products with one serves the other.
PERILUNE_INLINE bool start_alike(const Coding& a, const Coding& b) {
  return bias_of(a) == bias_of(b) && groups_of(a) == groups_of(b) && offset_of(a) == offset_of(b);
}

struct CodedInput {
  std::int8_t* codes;    // [tile][block, row, kCodedBlock]
  float* scales;         // [tile][block, row]
  std::int32_t* halves;  // [tile][block, half, row]: sums of codes
  std::int32_t* starts;  // [tile][block, group, row]: -bias * sum of codes
  /// [tile][block, group, row]: the sum of codes, times x's scale where groups have a minimum.
  float* offsets;
  std::int64_t blocks;  // of a row

  CodedInput(void* scratch, std::int64_t rows, std::int64_t inputs) : blocks(coded_blocks(inputs)) {
    codes = static_cast<std::int8_t*>(scratch);
    scales = reinterpret_cast<float*>(codes + (rows * blocks * kCodedBlock + 63) / 64 * 64);
    halves = reinterpret_cast<std::int32_t*>(scales + rows * blocks);
    starts = halves + rows * blocks * 2;
    offsets = reinterpret_cast<float*>(starts + rows * blocks * 2);
  }
};

[[maybe_unused]] std::size_t coded_scratch(const LinearArguments& a) {
  const std::int64_t blocks = a.rows * coded_blocks(a.inputs);
  return static_cast<std::size_t>(blocks * (kCodedBlock + 4 + 3 * 8) + 64);
}

/// One block of a row. Too small to divide by: zeros, as the exact product would nearly be. Sums of
/// half a block go to `halves`, `apart` from each other.
PERILUNE_INLINE void round_block(const float* x, std::int8_t* codes, float* scale,
                                 std::int32_t* halves, std::int64_t apart) {
  constexpr float kLeast = 1e-30f;
  Vec most = zero(), poison = zero();
  for (std::int64_t i = 0; i < kCodedBlock; i += kLanes) {
    const Vec v = load(x + i);
    most = larger(most, magnitude(v));
    poison = add(poison, mul(v, zero()));  // 0, or NaN
  }
  const float largest_value = largest(most);
  const bool finite = sum(poison) == 0;
  const bool rounds = finite && largest_value >= kLeast;
  *scale = finite ? (rounds ? largest_value / 127.0f : 0.0f) : __builtin_nanf("");
  const Vec factor = splat(rounds ? 127.0f / largest_value : 0.0f);
  for (std::int64_t half = 0; half < 2; ++half) {
    Vec total = zero();
    for (std::int64_t i = half * 16; i < half * 16 + 16; i += kLanes) {
      const Vec rounded = rounds ? nearest(mul(load(x + i), factor)) : zero();
      store_bytes(codes + i, rounded);
      total = add(total, rounded);
    }
    halves[half * apart] = static_cast<std::int32_t>(sum(total));  // whole numbers: exact
  }
}

/// Rows [row, row + rows) of x, a tile.
[[maybe_unused]] void round_tile(const LinearArguments& a, const CodedInput& to, std::int64_t row,
                                 std::int64_t rows) {
  alignas(64) float aside[kCodedBlock];
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t b = 0; b < to.blocks; ++b) {
      const float* x = a.x + (row + r) * a.x_stride + b * kCodedBlock;
      const std::int64_t left = a.inputs - b * kCodedBlock;
      if (a.input_order != nullptr) {
        const std::int32_t* order = a.input_order + b * kCodedBlock;
        for (std::int64_t i = 0; i < kCodedBlock; ++i)
          aside[i] = i < left ? a.x[(row + r) * a.x_stride + order[i]] : 0;
        x = aside;
      } else if (left < kCodedBlock) {
        for (std::int64_t i = 0; i < kCodedBlock; ++i) aside[i] = i < left ? x[i] : 0;
        x = aside;
      }
      const std::int64_t at = row * to.blocks + b * rows + r;
      round_block(x, to.codes + at * kCodedBlock, to.scales + at,
                  to.halves + (row * to.blocks + b * rows) * 2 + r, rows);
    }
}

/// Starts and offsets of a tile, for products with such codes.
[[maybe_unused]] void start_tile(const Coding& coding, const CodedInput& to, std::int64_t row,
                                 std::int64_t rows) {
  const std::int64_t groups = groups_of(coding);
  const std::int32_t bias = bias_of(coding);
  const CodeOffset offset = offset_of(coding);
  const std::int32_t* halves = to.halves + row * to.blocks * 2;
  const float* scales = to.scales + row * to.blocks;
  std::int32_t* starts = to.starts + row * to.blocks * groups;
  float* offsets = to.offsets + row * to.blocks * groups;
  for (std::int64_t b = 0; b < to.blocks; ++b, halves += rows * 2, scales += rows)
    for (std::int64_t group = 0; group < groups; ++group, starts += rows, offsets += rows)
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int32_t total =
            groups == 2 ? halves[group * rows + r] : halves[r] + halves[rows + r];
        starts[r] = -bias * total;
        if (offset == CodeOffset::none) continue;
        const auto whole = static_cast<float>(total);
        offsets[r] = offset == CodeOffset::minimum ? scales[r] * whole : whole;
      }
}

/// Rounds x where `rounds`, and makes it ready for products with such codes.
[[maybe_unused]] void prepare_input(const Launch& launch, const LinearArguments& a,
                                    const RowTiles& tiles, const Coding& coding, bool rounds,
                                    const CodedInput& to) {
  const std::int64_t per_task = 1 + 16384 / (a.inputs * kCodedRows + 1);
  parallel_ranges(launch, tiles.count, per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t row = tiles.begin(t), rows = tiles.begin(t + 1) - row;
      if (rounds) round_tile(a, to, row, rows);
      start_tile(coding, to, row, rows);
    }
  });
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
