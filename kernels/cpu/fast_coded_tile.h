// The register tile of mode int8 where several row tiles share a panel, or one has many rows: kRows
// rounded rows of x times a panel of codes.
//
// Blocks of a panel go in parts of kCodedSteps. The numbers of a part's groups are widened once,
// for all row tiles that pass by, so that the loop over blocks knows one kind of scale only; what
// else differs between codings is a template's argument, or the sums would not stay in registers.
#pragma once

#include "kernels/cpu/fast_coded_products.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

inline constexpr std::int64_t kCodedSteps = 16;  // blocks of a panel that stay in the first cache

/// Blocks [from, from + count) of a panel.
struct PanelPart {
  const std::uint8_t* codes[kCodedSteps];
  /// Of each group, [block, group of a block, kPanelWidth], over the divisor; one group a block
  /// where longer ones are shared.
  alignas(64) float scales[kCodedSteps * 2 * kPanelWidth];
  alignas(64) float offsets[kCodedSteps * 2 * kPanelWidth];  // minimums or zero points, if any
};

[[maybe_unused]] void read_part(const Coding& coding, const std::uint8_t* panel, std::int64_t from,
                                std::int64_t count, PanelPart& to) {
  const CodedLayout at = coded_layout(coding, kPanelWidth);
  const std::int64_t groups = groups_of(coding);
  const CodeOffset offset = offset_of(coding);
  for (std::int64_t b = 0; b < count; ++b) {
    to.codes[b] = panel + coded_block_at(at, from + b);
    const CodedPart part = {coding, at, to.codes[b], panel + coded_unit_at(at, from + b)};
    for (std::int64_t group = 0; group < groups; ++group)
      for (int v = 0; v < kPanelWidth / kLanes; ++v) {
        const std::int64_t place = (b * groups + group) * kPanelWidth + v * kLanes;
        const Vec scale = part.scale(group, v);
        store(to.scales + place, coding.divisor != 1 ? div(scale, splat(coding.divisor)) : scale);
        if (offset == CodeOffset::minimum) store(to.offsets + place, part.minimum(group, v));
        if (offset == CodeOffset::zero_point) store(to.offsets + place, part.zero_point(v));
      }
  }
}

/// Addresses of one call.
struct CodedTile {
  const std::int8_t* x;  // CodedInput's of the rows, from the part's first block on
  const float* scales;
  const std::int32_t* starts;
  const float* offsets;
  const PanelPart* part;
  static constexpr std::int64_t panel_apart = 0;  // there is one
  std::int64_t count;                             // blocks of the part
  bool begins;                                    // sums start from 0, else from out
  float* out;                                     // [row, kPanelWidth]
  std::int64_t out_stride;
  const Coding* coding;
};

/// A finished group, scaled, added to `sums`.
template <int kRows, bool kSplit, CodeOffset kOffset, int kVecs>
PERILUNE_INLINE void add_group(const CodedTile& tile, std::int64_t block, std::int64_t half,
                               const IntVec (&exact)[kRows][kVecs], Vec (&sums)[kRows][kVecs]) {
  const PanelPart& part = *tile.part;
  const std::int64_t group = kSplit ? block * 2 + half : block;
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    const std::int64_t place = group * kPanelWidth + v * kLanes;
    const Vec scale = load(part.scales + place);
    const Vec offset = kOffset == CodeOffset::none ? zero() : load(part.offsets + place);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Vec x_scale = splat(tile.scales[block * kRows + r]);
      Vec whole = to_float(exact[r][v]);  // below 2^24, as what is taken from it: exact
      if constexpr (kOffset == CodeOffset::zero_point)
        whole = sub(whole, mul(offset, splat(tile.offsets[group * kRows + r])));
      sums[r][v] = multiply_add(whole, mul(scale, x_scale), sums[r][v]);
      if constexpr (kOffset == CodeOffset::minimum)
        sums[r][v] = multiply_add(offset, splat(tile.offsets[group * kRows + r]), sums[r][v]);
    }
  }
}

template <int kRows, CodeKind kKind, bool kSplit, CodeOffset kOffset>
void multiply_codes(const CodedTile& given) {
  constexpr int kVecs = kPanelWidth / kLanes;
  const CodedTile tile = given;  // stays in registers
  const Codes table = kKind == CodeKind::table ? code_table(tile.coding->values) : Codes{};
  Vec sums[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v)
      sums[r][v] = tile.begins ? zero() : load(tile.out + r * tile.out_stride + v * kLanes);

  for (std::int64_t block = 0; block < tile.count; ++block) {
    constexpr int kGroups = kSplit ? 2 : 1;
    const std::uint8_t* codes = tile.part->codes[block];
#pragma GCC unroll 2
    for (int group = 0; group < kGroups; ++group) {
      IntVec exact[kRows][kVecs];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const IntVec start = int_splat(tile.starts[(block * kGroups + group) * kRows + r]);
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v) exact[r][v] = start;
      }
      add_half<kRows, kKind>(tile, codes, block, group, table, exact);
      if constexpr (!kSplit) add_half<kRows, kKind>(tile, codes, block, 1, table, exact);
      add_group<kRows, kSplit, kOffset>(tile, block, group, exact, sums);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) store(tile.out + r * tile.out_stride + v * kLanes, sums[r][v]);
}

using CodedFunction = void (*)(const CodedTile&);

/// Row tiles are nearly equal, so that several have half of the most rows and more.
constexpr int kLeastCodedRows = (kCodedRows + 1) / 2;

template <CodeKind kKind, bool kSplit, CodeOffset kOffset, int kRows = kCodedRows>
CodedFunction coded_function(std::int64_t rows) {
  if (rows == kRows) return multiply_codes<kRows, kKind, kSplit, kOffset>;
  if constexpr (kRows > kLeastCodedRows)
    return coded_function<kKind, kSplit, kOffset, kRows - 1>(rows);
  return nullptr;
}

/// Only for what a registered format has.
[[maybe_unused]] CodedFunction coded_function_of(const Coding& coding, std::int64_t rows) {
  using enum CodeOffset;
  const bool has_minimum = offset_of(coding) == minimum;
  const bool has_zero = offset_of(coding) == zero_point;
  switch (kind_of(coding)) {
    case CodeKind::bits2:
      if (has_zero) return coded_function<CodeKind::bits2, false, zero_point>(rows);
      return coded_function<CodeKind::bits2, true, minimum>(rows);
    case CodeKind::bits3:
      if (has_zero) return coded_function<CodeKind::bits3, false, zero_point>(rows);
      return coded_function<CodeKind::bits3, true, none>(rows);
    case CodeKind::nibbles:
      if (has_zero) return coded_function<CodeKind::nibbles, false, zero_point>(rows);
      if (has_minimum) return coded_function<CodeKind::nibbles, false, minimum>(rows);
      return coded_function<CodeKind::nibbles, false, none>(rows);
    case CodeKind::bits5:
      if (has_minimum) return coded_function<CodeKind::bits5, false, minimum>(rows);
      return coded_function<CodeKind::bits5, false, none>(rows);
    case CodeKind::bits6: return coded_function<CodeKind::bits6, true, none>(rows);
    case CodeKind::table: return coded_function<CodeKind::table, false, none>(rows);
    case CodeKind::bytes:
      if (has_zero) return coded_function<CodeKind::bytes, false, zero_point>(rows);
      return coded_function<CodeKind::bytes, false, none>(rows);
    case CodeKind::levels: break;  // never asked for: MathMode::int8 is not theirs
  }
  return nullptr;
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
