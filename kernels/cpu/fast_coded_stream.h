// The register tile of mode int8 for few rows, which are one tile: each panel is read once, in the
// order in which it lies, so that memory streams; how fast that is bounds a step of decoding.
#pragma once

#include "kernels/cpu/fast_coded_products.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

/// Addresses of one call.
struct CodedStream {
  const std::int8_t* x;  // CodedInput's, of all rows
  const float* scales;
  const std::int32_t* starts;
  const float* offsets;
  std::int64_t blocks;  // of a row
  const std::uint8_t* panel;
  std::int64_t panel_apart;  // bytes from a panel to the next
  float* out;                // [row, panel * kPanelWidth]
  std::int64_t out_stride;
  const Coding* coding;
};

/// A finished group, scaled, added to `sums`.
template <int kRows, int kVecs>
PERILUNE_INLINE void stream_group(const CodedStream& tile, const CodedPart& first,
                                  std::int64_t block, std::int64_t half, bool split,
                                  const IntVec (&exact)[kRows][kVecs], Vec (&sums)[kRows][kVecs]) {
  constexpr int kPanelVecs = kPanelWidth / kLanes;
  const std::int64_t group = split ? half : 0;
#pragma GCC unroll 16
  for (int v = 0; v < kVecs; ++v) {
    const std::int64_t apart = v / kPanelVecs * tile.panel_apart;
    const CodedPart part = {first.coding, first.at, first.codes + apart, first.unit + apart};
    Vec scale = part.scale(group, v % kPanelVecs);
    if (first.coding.divisor != 1) scale = div(scale, splat(first.coding.divisor));
    const bool zeros = first.coding.zero_points;
    const Vec zero_point = zeros ? part.zero_point(v % kPanelVecs) : zero();
    const float* scales = tile.scales + block * kRows;
    const float* offsets = tile.offsets + (split ? block * 2 + half : block) * kRows;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      Vec whole = to_float(exact[r][v]);  // below 2^24, as what is taken from it: exact
      if (zeros) whole = sub(whole, mul(zero_point, splat(offsets[r])));
      sums[r][v] = multiply_add(whole, mul(scale, splat(scales[r])), sums[r][v]);
    }
    if (!first.coding.minimum) continue;
    const Vec minimum = part.minimum(group, v % kPanelVecs);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
      sums[r][v] = multiply_add(minimum, splat(offsets[r]), sums[r][v]);
  }
}

template <int kRows, int kPanels, CodeKind kKind>
void stream_codes(const CodedStream& given) {
  constexpr int kVecs = kPanels * (kPanelWidth / kLanes);
  const CodedStream tile = given;  // stays in registers
  const Coding coding = *tile.coding;
  const CodedLayout at = coded_layout(coding, kPanelWidth);
  const bool split = coding.group == 16;
  const Codes table = kKind == CodeKind::table ? code_table(coding.values) : Codes{};
  Vec sums[kRows][kVecs];
  IntVec exact[kRows][kVecs] = {};
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) sums[r][v] = zero();

  for (std::int64_t block = 0; block < tile.blocks; ++block) {
    const CodedPart part = {coding, at, tile.panel + coded_block_at(at, block),
                            tile.panel + coded_unit_at(at, block)};
    for (std::int64_t half = 0; half < 2; ++half) {
      if (half == 0 || split) {
        const std::int32_t* starts = tile.starts + (split ? block * 2 + half : block) * kRows;
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const IntVec start = int_splat(starts[r]);
#pragma GCC unroll 16
          for (int v = 0; v < kVecs; ++v) exact[r][v] = start;
        }
      }
      add_half<kRows, kKind>(tile, part.codes, block, half, table, exact);
      if (half == 1 || split)
        stream_group<kRows, kVecs>(tile, part, block, half, split, exact, sums);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) store(tile.out + r * tile.out_stride + v * kLanes, sums[r][v]);
}

/// Panels that few rows take at once, so that the multipliers have enough to do.
constexpr int coded_panels_at_once(std::int64_t rows) {
  return rows * 2 <= kCodedRows ? 2 : 1;
}

/// Whether so few rows are streamed.
PERILUNE_INLINE bool streams_rows(std::int64_t rows) {
  return rows == 1 || coded_panels_at_once(rows) > 1;
}

using StreamFunction = void (*)(const CodedStream&);

template <CodeKind kKind, int kRows = (kCodedRows > 1 ? kCodedRows / 2 : 1)>
StreamFunction stream_function(std::int64_t rows, bool many_panels) {
  if (rows == kRows)
    return many_panels ? stream_codes<kRows, coded_panels_at_once(kRows), kKind>
                       : stream_codes<kRows, 1, kKind>;
  if constexpr (kRows > 1) return stream_function<kKind, kRows - 1>(rows, many_panels);
  return nullptr;
}

[[maybe_unused]] StreamFunction stream_function_of(const Coding& coding, std::int64_t rows,
                                                   bool many_panels) {
  switch (kind_of(coding)) {
    case CodeKind::bits2: return stream_function<CodeKind::bits2>(rows, many_panels);
    case CodeKind::bits3: return stream_function<CodeKind::bits3>(rows, many_panels);
    case CodeKind::nibbles: return stream_function<CodeKind::nibbles>(rows, many_panels);
    case CodeKind::bits5: return stream_function<CodeKind::bits5>(rows, many_panels);
    case CodeKind::bits6: return stream_function<CodeKind::bits6>(rows, many_panels);
    case CodeKind::table: return stream_function<CodeKind::table>(rows, many_panels);
    case CodeKind::bytes: break;
    case CodeKind::levels: return nullptr;  // never asked for: MathMode::int8 is not theirs
  }
  return stream_function<CodeKind::bytes>(rows, many_panels);
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
