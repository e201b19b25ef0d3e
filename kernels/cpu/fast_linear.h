// linear: out[r, o] = activation((sum over k of x[r, k] * w[o, k]) * scale + bias[o]).
//
// 1. Rows are cut into tiles of nearly equal height and packed, k by k, into scratch; in mode bf16
//    they are rounded on the way.
// 2. Tasks take blocks of row tiles times ranges of panels. Inputs go in blocks of kSteps, so that
//    a panel's part rests in the first cache while the row tiles pass by.
// 3. Weights of 16 bits are widened exactly: on the fly for one row tile, else once per block.
//    Codes are widened once per block, or multiplied as they are (fast_coded.h).
#pragma once

#include "kernels/cpu/fast_coded.h"
#include "kernels/cpu/fast_tile.h"
#include "kernels/cpu/parallel.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

inline constexpr std::int64_t kBlockRows = 96;        // rows that share a panel while it is cached
inline constexpr std::int64_t kWidenFromTiles = 3;    // fewer row tiles widen on the fly
inline constexpr std::int64_t kSmallInput = 1 << 15;  // packed floats that fit the second cache
inline constexpr std::int64_t kProductsPerTask = 1 << 15;

/// Row tiles of a product: tile t covers rows [begin(t), begin(t + 1)).
struct RowTiles {
  std::int64_t rows, count;
  explicit RowTiles(std::int64_t all, std::int64_t most = kRowTile)
      : rows(all), count((all + most - 1) / most) {}
  std::int64_t begin(std::int64_t tile) const { return tile * rows / count; }
};

PERILUNE_INLINE bool uses_pairs(const LinearArguments& a) {
  return kBf16Dot && a.math == MathMode::bf16;
}
PERILUNE_INLINE std::int64_t steps_of(const LinearArguments& a) {
  return uses_pairs(a) ? (a.inputs + 1) / 2 : a.inputs;
}

std::size_t coded_scratch(const LinearArguments& a);  // fast_coded_input.h

[[maybe_unused]] std::size_t linear_scratch(const LinearArguments& a, int) {
  if (a.math == MathMode::int8) return coded_scratch(a);
  return static_cast<std::size_t>(a.rows * steps_of(a)) * sizeof(float);
}

// ---------------------------------------------------------------- packing x

inline constexpr std::int64_t kChunk = 64;  // inputs packed at a time

/// Inputs of one step.
template <class Input>
inline constexpr std::int64_t kStepWidth = 1;
template <>
inline constexpr std::int64_t kStepWidth<Bf16Pair> = 2;

PERILUNE_INLINE void put(float* to, const float* from) {
  *to = *from;
}
PERILUNE_INLINE void put(Bf16Pair* to, const float* from) {
  to->bits = (__builtin_bit_cast(std::uint32_t, from[0]) >> 16) |
             (__builtin_bit_cast(std::uint32_t, from[1]) & 0xffff0000u);
}

/// One row tile to [step, row]. A missing last half of a pair is 0.
template <class Input>
void pack_rows(const LinearArguments& a, std::int64_t first_row, std::int64_t rows, Input* out) {
  constexpr std::int64_t kWidth = kStepWidth<Input>;
  float chunk[kRowTile][kChunk];
  for (std::int64_t k0 = 0; k0 < a.inputs; k0 += kChunk) {
    const std::int64_t count = a.inputs - k0 < kChunk ? a.inputs - k0 : kChunk;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* x = a.x + (first_row + r) * a.x_stride + k0;
      float ordered[kChunk];
      if (a.input_order != nullptr) {
        for (std::int64_t i = 0; i < count; ++i)
          ordered[i] = a.x[(first_row + r) * a.x_stride + a.input_order[k0 + i]];
        x = ordered;
      }
      if (a.math == MathMode::bf16)
        map(chunk[r], x, count, [](Vec v) { return round_to_bf16(v); });
      else
        map(chunk[r], x, count, [](Vec v) { return v; });
      if (count % kWidth != 0) chunk[r][count] = 0;
    }
    const std::int64_t steps = (count + kWidth - 1) / kWidth;
    for (std::int64_t step = 0; step < steps; ++step)
      for (std::int64_t r = 0; r < rows; ++r) put(out++, &chunk[r][step * kWidth]);
  }
}

template <class Input>
void pack_input(const Launch& launch, const LinearArguments& a, const RowTiles& tiles,
                Input* packed) {
  const std::int64_t steps = steps_of(a);
  const std::int64_t per_task = 1 + kProductsPerTask / (a.inputs * kRowTile + 1);
  parallel_ranges(launch, tiles.count, per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t)
      pack_rows(a, tiles.begin(t), tiles.begin(t + 1) - tiles.begin(t),
                packed + tiles.begin(t) * steps);
  });
}

// ---------------------------------------------------------------- one segment

/// A weight of codes, widened before it is multiplied.
struct Coded {};

template <class Input, class Weight>
struct Product {
  const LinearArguments& a;
  const LinearSegment& segment;
  const RowTiles& tiles;
  const Input* x;  // packed, all tiles
  std::int64_t steps;

  const Weight* panel(std::int64_t index) const {
    return static_cast<const Weight*>(segment.weight.data) + index * steps * kPanelWidth;
  }
  std::int64_t columns(std::int64_t index) const {
    const std::int64_t left = segment.weight.outputs - index * kPanelWidth;
    return left < kPanelWidth ? left : kPanelWidth;
  }
  float* out(std::int64_t row, std::int64_t panel_index) const {
    return segment.out + row * segment.out_stride + panel_index * kPanelWidth;
  }
};

/// scale, bias and activation on finished sums.
[[maybe_unused]] void finish(const LinearArguments& a, const LinearSegment& segment,
                             std::int64_t first_row, std::int64_t rows, std::int64_t column,
                             std::int64_t columns) {
  const RunFunction activate = activation_function(segment.activation);
  if (a.scale == 1.0f && segment.bias == nullptr && activate == nullptr) return;
  const float* bias = segment.bias == nullptr ? nullptr : segment.bias + column;
  for (std::int64_t r = first_row; r < first_row + rows; ++r) {
    float* out = segment.out + r * segment.out_stride + column;
    if (a.scale != 1.0f) {
      const Vec scale = splat(a.scale);
      map(out, out, columns, [&](Vec v) { return mul(v, scale); });
    }
    for (std::int64_t i = 0; bias != nullptr && i < columns; i += kLanes) {
      const std::int64_t left = columns - i;
      if (left >= kLanes)
        store(out + i, add(load(out + i), load(bias + i)));
      else
        store_part(out + i, add(load_part(out + i, left), load_part(bias + i, left)), left);
    }
    if (activate != nullptr) activate(out, out, columns);
  }
}

/// All rows are one tile: weights are read once, in order, several panels abreast.
template <class Input, class Weight>
void run_once(const Product<Input, Weight>& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t rows = p.a.rows;
  const auto one = tile_function<Input, Weight>(rows, false);
  const auto many = tile_function<Input, Weight>(rows, true);
  const std::int64_t abreast = panels_at_once(rows);
  for (std::int64_t panel = begin; panel < end;) {
    const bool wide =
        panel + abreast <= end && p.columns(panel + abreast - 1) == kPanelWidth && abreast > 1;
    const std::int64_t count = wide ? abreast : 1, last = panel + count - 1;
    const Tile<Input, Weight> tile = {p.x,     p.panel(panel),  p.steps * kPanelWidth,
                                      p.steps, p.out(0, panel), p.segment.out_stride,
                                      true};
    if (wide)
      many(tile);
    else
      run_tile(tile, one, rows, p.columns(panel));
    finish(p.a, p.segment, 0, rows, panel * kPanelWidth,
           (last - panel) * kPanelWidth + p.columns(last));
    panel += count;
  }
}

/// Pairs are multiplied as they are.
PERILUNE_INLINE const Bf16Pair* widened(const Bf16Pair* weight, std::int64_t, float*) {
  return weight;
}

/// Steps [from, to) of a panel of codes, whole blocks, as the mode wants its weights.
PERILUNE_INLINE const float* widened_codes(const PackedMatrix& weight, const std::uint8_t* panel,
                                           std::int64_t from, std::int64_t to, float* buffer) {
  widen_panel(*weight.coding, panel, from, to, buffer);
  if (weight.math == MathMode::bf16)
    map(buffer, buffer, (to - from) * kPanelWidth, [](Vec v) { return round_to_bf16(v); });
  return buffer;
}
template <class Pair>  // Bf16Pair, where a tier multiplies pairs
PERILUNE_INLINE const Pair* widened_codes(const PackedMatrix& weight, const std::uint8_t* panel,
                                          std::int64_t from, std::int64_t to, Pair* buffer) {
  alignas(64) float block[kCodedBlock * kPanelWidth];
  Pair* out = buffer;
  for (std::int64_t k = from * 2; k < to * 2; k += kCodedBlock) {
    widen_panel(*weight.coding, panel, k, k + kCodedBlock, block);
    for (std::int64_t i = 0; i < kCodedBlock; i += 2)
      for (int v = 0; v < kPanelWidth; v += kLanes, out += kLanes)
        store_pairs(out, round_to_bf16(load(block + i * kPanelWidth + v)),
                    round_to_bf16(load(block + (i + 1) * kPanelWidth + v)));
  }
  return buffer;
}

/// Row tiles [first, last) times one panel, over steps [from, to). `weight` is that part of the
/// panel.
template <class Input, class Weight, class Part>
void run_part(const Product<Input, Weight>& p, std::int64_t panel, const Part* weight,
              std::int64_t first, std::int64_t last, std::int64_t from, std::int64_t to) {
  for (std::int64_t t = first; t < last; ++t) {
    const std::int64_t row = p.tiles.begin(t), rows = p.tiles.begin(t + 1) - row;
    const Tile<Input, Part> tile = {p.x + row * p.steps + from * rows,
                                    weight,
                                    0,
                                    to - from,
                                    p.out(row, panel),
                                    p.segment.out_stride,
                                    from == 0};
    run_tile(tile, tile_function<Input, Part>(rows, false), rows, p.columns(panel));
    if (to == p.steps) finish(p.a, p.segment, row, rows, panel * kPanelWidth, p.columns(panel));
  }
}

template <class Input>
void run_panel(const Product<Input, Coded>& p, std::int64_t panel, std::int64_t first,
               std::int64_t last, std::int64_t from, std::int64_t to) {
  const PackedMatrix& weight = p.segment.weight;
  const std::int64_t bytes =
      coded_panel_bytes(coded_layout(*weight.coding, kPanelWidth), weight.inputs);
  alignas(64) Input buffer[kSteps * kPanelWidth];
  const auto* codes = static_cast<const std::uint8_t*>(weight.data) + panel * bytes;
  run_part(p, panel, widened_codes(weight, codes, from, to, buffer), first, last, from, to);
}

template <class Input, class Weight>
void run_panel(const Product<Input, Weight>& p, std::int64_t panel, std::int64_t first,
               std::int64_t last, std::int64_t from, std::int64_t to) {
  const Weight* weight = p.panel(panel) + from * kPanelWidth;
  if (last - first < kWidenFromTiles) return run_part(p, panel, weight, first, last, from, to);
  alignas(64) float buffer[kSteps * kPanelWidth];
  run_part(p, panel, widened(weight, (to - from) * kPanelWidth, buffer), first, last, from, to);
}

/// Row tiles [first, last) times panels [begin, end). A small input passes each panel whole, so
/// that the weight streams in order; a large one stays in the second cache block by block.
template <class Input, class Weight>
void run_block(const Product<Input, Weight>& p, std::int64_t begin, std::int64_t end,
               std::int64_t first, std::int64_t last) {
  if constexpr (!std::is_same_v<Weight, Coded>) {
    if (p.tiles.count == 1) return run_once(p, begin, end);
  }
  const bool small = (p.tiles.begin(last) - p.tiles.begin(first)) * p.steps <= kSmallInput;
  const std::int64_t group = small ? 1 : end - begin;
  for (std::int64_t at = begin; at < end; at += group)
    for (std::int64_t from = 0; from < p.steps || from == 0; from += kSteps) {
      const std::int64_t to = from + kSteps < p.steps ? from + kSteps : p.steps;
      for (std::int64_t panel = at; panel < at + group; ++panel)
        run_panel(p, panel, first, last, from, to);
    }
}

template <class Input>
void run_segment(const LinearArguments& a, const LinearSegment& segment, const RowTiles& tiles,
                 const Input* x, std::int64_t begin, std::int64_t end, std::int64_t first,
                 std::int64_t last) {
  const std::int64_t steps = steps_of(a);
  if (segment.weight.format == WeightFormat::coded) {
    run_block(Product<Input, Coded>{a, segment, tiles, x, steps}, begin, end, first, last);
  } else if constexpr (kStepWidth<Input> == 2) {
    run_block(Product<Input, Bf16Pair>{a, segment, tiles, x, steps}, begin, end, first, last);
  } else if (segment.weight.format == WeightFormat::f32) {
    run_block(Product<Input, float>{a, segment, tiles, x, steps}, begin, end, first, last);
  } else if (segment.weight.format == WeightFormat::bf16) {
    run_block(Product<Input, Bf16>{a, segment, tiles, x, steps}, begin, end, first, last);
  } else {
    run_block(Product<Input, F16>{a, segment, tiles, x, steps}, begin, end, first, last);
  }
}

// ---------------------------------------------------------------- all segments

PERILUNE_INLINE std::int64_t panels_of(const LinearSegment& segment) {
  return (segment.weight.outputs + kPanelWidth - 1) / kPanelWidth;
}

/// Calls run(segment, from, to) for the parts of [begin, end) in all segments' panels laid end to
/// end.
template <class Run>
void each_segment(const LinearArguments& a, std::int64_t begin, std::int64_t end, const Run& run) {
  std::int64_t start = 0;
  for (std::int64_t s = 0; s < a.segment_count; ++s) {
    const std::int64_t count = panels_of(a.segments[s]);
    const std::int64_t from = begin > start ? begin - start : 0;
    const std::int64_t to = end - start < count ? end - start : count;
    if (from < to) run(a.segments[s], from, to);
    start += count;
  }
}

/// Calls run(segment, panel from, to, row tile from, to) so that every panel meets every row tile
/// once, on all threads.
template <class Run>
void each_block(const Launch& launch, const LinearArguments& a, const RowTiles& tiles,
                const Run& run) {
  std::int64_t panels = 0;
  for (std::int64_t s = 0; s < a.segment_count; ++s) panels += panels_of(a.segments[s]);
  const std::int64_t blocks = (a.rows + kBlockRows - 1) / kBlockRows;
  const std::int64_t products = a.rows * a.inputs * panels * kPanelWidth;
  const std::int64_t wanted = task_count(launch, products, kProductsPerTask);
  const std::int64_t ranges_wanted = (wanted + blocks - 1) / blocks;
  const std::int64_t ranges = ranges_wanted < panels ? ranges_wanted : panels;
  parallel_tasks(launch, blocks * ranges, [&](std::int64_t task) {
    const std::int64_t block = task / ranges, range = task % ranges;
    each_segment(a, range * panels / ranges, (range + 1) * panels / ranges,
                 [&](const LinearSegment& segment, std::int64_t from, std::int64_t to) {
                   run(segment, from, to, block * tiles.count / blocks,
                       (block + 1) * tiles.count / blocks);
                 });
  });
}

template <class Input>
void run_linear(const Launch& launch, const LinearArguments& a) {
  const RowTiles tiles(a.rows);
  Input* x = static_cast<Input*>(launch.scratch);
  pack_input(launch, a, tiles, x);
  each_block(
      launch, a, tiles,
      [&](const LinearSegment& segment, std::int64_t from, std::int64_t to, std::int64_t first,
          std::int64_t last) { run_segment(a, segment, tiles, x, from, to, first, last); });
}

// ---------------------------------------------------------------- the entry

void run_coded(const Launch& launch, const LinearArguments& a);  // fast_linear_int8.h

[[maybe_unused]] void linear(const Launch& launch, const LinearArguments& a) {
  if (a.rows == 0) return;
  if (a.math == MathMode::int8) return run_coded(launch, a);
  if constexpr (kBf16Dot) {
    if (uses_pairs(a)) return run_linear<Bf16Pair>(launch, a);
  }
  run_linear<float>(launch, a);
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
