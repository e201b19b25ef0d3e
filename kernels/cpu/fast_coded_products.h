// Exact products of codes and rounded rows of x: what both tiles of mode int8 are made of.
#pragma once

#include "kernels/cpu/fast_coded_input.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

/// Exact products of half a block, added to `exact`. `codes` are the block's in the first panel,
/// others lie `panel_apart` bytes behind it.
template <int kRows, CodeKind kKind, class Tile, int kVecs>
PERILUNE_INLINE void add_half(const Tile& tile, const std::uint8_t* codes, std::int64_t block,
                              std::int64_t half, const Codes& table,
                              IntVec (&exact)[kRows][kVecs]) {
  constexpr int kPanelVecs = kPanelWidth / kLanes;
#pragma GCC unroll 4
  for (std::int64_t quad = 0; quad < 4; ++quad) {
    Codes factors[kVecs];
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v)
      factors[v] = unpack_quad<kKind>(codes + v / kPanelVecs * tile.panel_apart, half, quad,
                                      v % kPanelVecs, table);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Codes x =
          broadcast_codes(tile.x + (block * kRows + r) * kCodedBlock + half * 16 + quad * 4);
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v)
        exact[r][v] = counts_from_zero(kKind) ? dot_small(exact[r][v], factors[v], x)
                                              : dot_bytes(exact[r][v], factors[v], x);
    }
  }
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
