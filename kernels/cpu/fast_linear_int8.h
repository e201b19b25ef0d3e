// linear in mode int8: rounded rows of x times the codes of a weight.
//
// Rows are cut into tiles and rounded to bytes first. Few rows stream the weight. Of more, blocks
// of inputs go in parts of kCodedSteps, so that a panel's part rests in the first cache while the
// row tiles pass by; a sum that stops rests in `out`.
#pragma once

#include "kernels/cpu/fast_coded_stream.h"
#include "kernels/cpu/fast_coded_tile.h"
#include "kernels/cpu/fast_linear.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

/// Where the sums of one tile go: to `out`, or aside where a panel is not full.
class TileOutput {
 public:
  TileOutput(const LinearSegment& segment, std::int64_t row, std::int64_t rows, std::int64_t column,
             std::int64_t width)
      : rows_(rows),
        width_(width),
        columns_(segment.weight.outputs - column < width ? segment.weight.outputs - column : width),
        stride_(segment.out_stride),
        out_(segment.out + row * segment.out_stride + column) {}
  bool full() const { return columns_ == width_; }
  float* sums() { return full() ? out_ : aside_; }
  std::int64_t stride() const { return full() ? stride_ : width_; }
  std::int64_t columns() const { return columns_; }
  /// Sums that stopped come back; those of the tile go out.
  void resume() {
    for (std::int64_t r = 0; r < rows_ && !full(); ++r)
      for (std::int64_t c = 0; c < columns_; ++c) aside_[r * width_ + c] = out_[r * stride_ + c];
  }
  void stop() {
    for (std::int64_t r = 0; r < rows_ && !full(); ++r)
      for (std::int64_t c = 0; c < columns_; ++c) out_[r * stride_ + c] = aside_[r * width_ + c];
  }

 private:
  std::int64_t rows_, width_, columns_, stride_;
  float* out_;
  alignas(64) float aside_[kCodedRows * 2 * kPanelWidth];
};

PERILUNE_INLINE std::int64_t panel_bytes(const LinearSegment& segment) {
  return coded_panel_bytes(coded_layout(*segment.weight.coding, kPanelWidth),
                           segment.weight.inputs);
}
PERILUNE_INLINE const std::uint8_t* panel_of(const LinearSegment& segment, std::int64_t panel) {
  return static_cast<const std::uint8_t*>(segment.weight.data) + panel * panel_bytes(segment);
}

/// All rows times panels [begin, end), several abreast.
[[maybe_unused]] void stream_panels(const LinearArguments& a, const LinearSegment& segment,
                                    const CodedInput& x, std::int64_t begin, std::int64_t end) {
  const Coding& coding = *segment.weight.coding;
  const std::int64_t abreast = coded_panels_at_once(a.rows);
  for (std::int64_t panel = begin; panel < end;) {
    const std::int64_t panels = panel + abreast <= end ? abreast : 1;
    TileOutput to(segment, 0, a.rows, panel * kPanelWidth, panels * kPanelWidth);
    stream_function_of(coding, a.rows, panels > 1)(
        {x.codes, x.scales, x.starts, x.offsets, x.blocks, panel_of(segment, panel),
         panel_bytes(segment), to.sums(), to.stride(), &coding});
    to.stop();
    finish(a, segment, 0, a.rows, panel * kPanelWidth, to.columns());
    panel += panels;
  }
}

/// Row tiles [first, last) times a panel, over blocks [from, to).
[[maybe_unused]] void multiply_panel(const LinearArguments& a, const LinearSegment& segment,
                                     const RowTiles& tiles, const CodedInput& x, std::int64_t panel,
                                     std::int64_t first, std::int64_t last, std::int64_t from,
                                     std::int64_t to) {
  const Coding& coding = *segment.weight.coding;
  PanelPart part;
  read_part(coding, panel_of(segment, panel), from, to - from, part);
  const std::uint8_t* next = part.codes[to - from - 1];  // the last block; parts follow each other
  const std::int64_t lines = (next - part.codes[0]) / 64 + 1;
  for (std::int64_t t = first; t < last; ++t) {
    for (std::int64_t line = (t - first) * lines / (last - first);
         line < (t + 1 - first) * lines / (last - first); ++line)
      __builtin_prefetch(next + (line + 1) * 64, 0, 2);
    const std::int64_t row = tiles.begin(t), rows = tiles.begin(t + 1) - row;
    const std::int64_t at = row * x.blocks + from * rows, groups = groups_of(coding);
    TileOutput out(segment, row, rows, panel * kPanelWidth, kPanelWidth);
    if (from > 0) out.resume();
    coded_function_of(coding, rows)({x.codes + at * kCodedBlock, x.scales + at,
                                     x.starts + at * groups, x.offsets + at * groups, &part,
                                     to - from, from == 0, out.sums(), out.stride(), &coding});
    out.stop();
    if (to == x.blocks) finish(a, segment, row, rows, panel * kPanelWidth, out.columns());
  }
}

/// The same for panels [begin, end) and all blocks.
[[maybe_unused]] void multiply_panels(const LinearArguments& a, const LinearSegment& segment,
                                      const RowTiles& tiles, const CodedInput& x,
                                      std::int64_t begin, std::int64_t end, std::int64_t first,
                                      std::int64_t last) {
  for (std::int64_t panel = begin; panel < end; ++panel)
    for (std::int64_t from = 0; from < x.blocks || from == 0; from += kCodedSteps) {
      const std::int64_t to = from + kCodedSteps < x.blocks ? from + kCodedSteps : x.blocks;
      multiply_panel(a, segment, tiles, x, panel, first, last, from, to);
    }
}

[[maybe_unused]] void run_coded(const Launch& launch, const LinearArguments& a) {
  const RowTiles tiles(a.rows, streams_rows(a.rows) ? a.rows : kCodedRows);
  const CodedInput x(launch.scratch, a.rows, a.inputs);
  // Segments whose codes want the same start go together.
  LinearArguments some = a;
  for (std::int64_t first = 0, end = 0; first < a.segment_count; first = end) {
    const Coding& coding = *a.segments[first].weight.coding;
    for (end = first + 1; end < a.segment_count; ++end)
      if (!start_alike(coding, *a.segments[end].weight.coding)) break;
    some.segments = a.segments + first;
    some.segment_count = end - first;
    prepare_input(launch, a, tiles, coding, first == 0, x);
    each_block(launch, some, tiles,
               [&](const LinearSegment& segment, std::int64_t begin, std::int64_t stop,
                   std::int64_t first_tile, std::int64_t last_tile) {
                 if (streams_rows(a.rows)) return stream_panels(a, segment, x, begin, stop);
                 multiply_panels(a, segment, tiles, x, begin, stop, first_tile, last_tile);
               });
  }
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
