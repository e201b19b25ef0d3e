// linear in mode int8: rounded rows of x times the codes of a weight.
//
// Rows are cut into tiles and rounded to bytes first. Blocks of inputs go in parts of kCodedSteps,
// so that a panel's part rests in the first cache while the row tiles pass by; a sum that stops
// rests in `out`.
#pragma once

#include "kernels/cpu/fast_linear.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

/// Row tiles [first, last) times `panels` neighbouring panels, over blocks [from, to).
[[maybe_unused]] void multiply_panels(const LinearArguments& a, const LinearSegment& segment,
                                      const RowTiles& tiles, const CodedInput& x,
                                      std::int64_t panel, std::int64_t panels, std::int64_t first,
                                      std::int64_t last, std::int64_t from, std::int64_t to) {
  const Coding& coding = *segment.weight.coding;
  const std::int64_t bytes = coded_panel_bytes(coded_layout(coding, kPanelWidth), a.inputs);
  const std::int64_t width = panels * kPanelWidth, column = panel * kPanelWidth;
  const std::int64_t left = segment.weight.outputs - column;
  const std::int64_t columns = left < width ? left : width;
  alignas(64) float aside[kCodedRows * 2 * kPanelWidth];
  for (std::int64_t t = first; t < last; ++t) {
    const std::int64_t row = tiles.begin(t), rows = tiles.begin(t + 1) - row;
    float* out = segment.out + row * segment.out_stride + column;
    CodedTile tile = {x.codes + row * x.blocks * kCodedBlock,
                      x.scales + row * x.blocks,
                      x.sums + row * x.blocks * 2,
                      x.blocks,
                      static_cast<const std::uint8_t*>(segment.weight.data) + panel * bytes,
                      bytes,
                      from,
                      to,
                      out,
                      segment.out_stride,
                      &coding};
    if (columns < width) {  // what is not full goes through a full tile aside
      tile.out = aside;
      tile.out_stride = width;
      for (std::int64_t r = 0; r < rows && from > 0; ++r)
        for (std::int64_t c = 0; c < columns; ++c)
          aside[r * width + c] = out[r * segment.out_stride + c];
    }
    coded_function_of(coding, rows, panels > 1)(tile);
    for (std::int64_t r = 0; r < rows && columns < width; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        out[r * segment.out_stride + c] = aside[r * width + c];
    if (to == x.blocks) finish(a, segment, row, rows, column, columns);
  }
}

[[maybe_unused]] void run_coded(const Launch& launch, const LinearArguments& a) {
  const RowTiles tiles(a.rows, kCodedRows);
  const CodedInput x(launch.scratch, a.rows, a.inputs);
  round_rows(launch, a, x);
  each_block(launch, a, tiles,
             [&](const LinearSegment& segment, std::int64_t begin, std::int64_t end,
                 std::int64_t first, std::int64_t last) {
               // One tile reads the weight once, in order; several keep a part of it in cache.
               const std::int64_t abreast = tiles.count == 1 ? coded_panels_at_once(a.rows) : 1;
               const std::int64_t part = tiles.count == 1 ? x.blocks : kCodedSteps;
               for (std::int64_t panel = begin; panel < end;) {
                 const std::int64_t panels = panel + abreast <= end ? abreast : 1;
                 for (std::int64_t from = 0; from < x.blocks || from == 0; from += part) {
                   const std::int64_t to = from + part < x.blocks ? from + part : x.blocks;
                   multiply_panels(a, segment, tiles, x, panel, panels, first, last, from, to);
                 }
                 panel += panels;
               }
             });
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
