// The register tile of a product: kRows rows of x times kPanels panels of a packed weight.
//
// Every output has one accumulator and adds its products over the inputs ascending, whatever the
// tile's shape, so a row's bits do not depend on the rows beside it. A long sum may stop and go on:
// its value rests in `out` as the f32 it is.
#pragma once

namespace perilune::kernels::PERILUNE_TIER {
namespace {

/// Addresses of one call. A step is one input (or one pair of inputs, for Bf16Pair weights).
template <class Input, class Weight>
struct Tile {
  const Input* x;            // [steps, kRows]
  const Weight* weight;      // [steps, kPanelWidth]
  std::int64_t panel_apart;  // elements from a panel to the next
  std::int64_t steps;
  float* out;  // [kRows, kPanels * kPanelWidth]
  std::int64_t out_stride;
  bool begins;  // sums start from 0, else from out
};

template <int kRows, int kPanels, class Input, class Weight>
void multiply_tile(const Tile<Input, Weight>& given) {
  constexpr int kPanelVecs = kPanelWidth / kLanes, kVecs = kPanels * kPanelVecs;
  const Tile<Input, Weight> tile = given;  // stays in registers
  Vec sums[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v)
      sums[r][v] = tile.begins ? zero() : load(tile.out + r * tile.out_stride + v * kLanes);

  const Input* x = tile.x;
  const Weight* weight = tile.weight;
  for (std::int64_t step = 0; step < tile.steps; ++step, x += kRows, weight += kPanelWidth) {
    if constexpr (kVecs > kRows) {  // the fewer of the two are held, the others pass by
      decltype(broadcast(x)) inputs[kRows];
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) inputs[r] = broadcast(x + r);
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) {
        const auto factor =
            load(weight + v / kPanelVecs * tile.panel_apart + v % kPanelVecs * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) sums[r][v] = multiply_add(inputs[r], factor, sums[r][v]);
      }
    } else {
      decltype(load(weight)) factors[kVecs];
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v)
        factors[v] = load(weight + v / kPanelVecs * tile.panel_apart + v % kPanelVecs * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const auto input = broadcast(x + r);
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v) sums[r][v] = multiply_add(input, factors[v], sums[r][v]);
      }
    }
  }

#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) store(tile.out + r * tile.out_stride + v * kLanes, sums[r][v]);
}

template <class Input, class Weight>
using TileFunction = void (*)(const Tile<Input, Weight>&);

/// Panels of one row tile that are multiplied at once when the weight is read once only: few rows
/// need more columns to keep the multipliers busy.
constexpr int panels_at_once(std::int64_t rows) {
  constexpr int kPanelVecs = kPanelWidth / kLanes, kSums = kRowTile * kPanelVecs;
  const std::int64_t panels = kSums / (rows * kPanelVecs);
  return panels >= 4 ? 4 : (panels >= 2 ? 2 : 1);
}

/// The tile of `rows` <= kRowTile rows and one panel, or panels_at_once(rows).
template <class Input, class Weight, int kRows = kRowTile>
TileFunction<Input, Weight> tile_function(std::int64_t rows, bool many_panels) {
  if (rows == kRows)
    return many_panels ? multiply_tile<kRows, panels_at_once(kRows), Input, Weight>
                       : multiply_tile<kRows, 1, Input, Weight>;
  if constexpr (kRows > 1) return tile_function<Input, Weight, kRows - 1>(rows, many_panels);
  return nullptr;
}

/// One tile of one panel; a panel that is not full goes through a full one aside.
template <class Input, class Any>
void run_tile(Tile<Input, Any> tile, TileFunction<Input, Any> function, std::int64_t rows,
              std::int64_t columns) {
  if (columns == kPanelWidth) return function(tile);
  float aside[kRowTile * kPanelWidth] = {};
  float* out = tile.out;
  const std::int64_t stride = tile.out_stride;
  for (std::int64_t r = 0; r < rows && !tile.begins; ++r)
    for (std::int64_t c = 0; c < columns; ++c) aside[r * kPanelWidth + c] = out[r * stride + c];
  tile.out = aside;
  tile.out_stride = kPanelWidth;
  function(tile);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) out[r * stride + c] = aside[r * kPanelWidth + c];
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
