// matmul: out[b, m, n] = sum over k of a[b, m, k] * c[b, n, k], one chain over k ascending, as
// linear in mode f32 has it (fast_tile.h). Both sides are packed as they are met: depths of kSteps,
// several panels of c at once, so that a packed row tile serves them all.
#pragma once

#include <xmmintrin.h>

#include "kernels/cpu/fast_tile.h"
#include "kernels/cpu/parallel.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

inline constexpr std::int64_t kMatmulPanels = 8;  // of c that are packed together
inline constexpr std::int64_t kMatmulColumns = kMatmulPanels * kPanelWidth;
inline constexpr std::int64_t kMatmulLeastRows = 64;  // that a task takes at least

/// One task: rows [m, m_end) and `columns` outputs from column n, of one batch entry.
struct MatmulBlock {
  const MatmulArguments& a;
  const float* left;   // of the entry
  const float* right;  // of the entry and column n
  float* out;          // of the entry and column n
  std::int64_t m, m_end, columns;
};

/// to[k * to_stride + r] = from[r * r_stride + k * k_stride] for `rows` and `depth`.
[[maybe_unused]] void turn_part(const float* from, std::int64_t r_stride, std::int64_t k_stride,
                                std::int64_t rows, std::int64_t depth, float* to,
                                std::int64_t to_stride) {
  std::int64_t r = 0;
  for (; k_stride == 1 && r + 4 <= rows; r += 4) {  // squares whose rows become columns
    const float* at = from + r * r_stride;
    std::int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      __m128 a = _mm_loadu_ps(at + k), b = _mm_loadu_ps(at + r_stride + k);
      __m128 c = _mm_loadu_ps(at + 2 * r_stride + k), d = _mm_loadu_ps(at + 3 * r_stride + k);
      _MM_TRANSPOSE4_PS(a, b, c, d);
      float* out = to + k * to_stride + r;
      _mm_storeu_ps(out, a);
      _mm_storeu_ps(out + to_stride, b);
      _mm_storeu_ps(out + 2 * to_stride, c);
      _mm_storeu_ps(out + 3 * to_stride, d);
    }
    for (; k < depth; ++k)
      for (std::int64_t i = 0; i < 4; ++i) to[k * to_stride + r + i] = at[i * r_stride + k];
  }
  for (; r < rows; ++r)
    for (std::int64_t k = 0; k < depth; ++k)
      to[k * to_stride + r] = from[r * r_stride + k * k_stride];
}

/// Inputs [k0, k0 + depth) of the block's columns, [panel, input, kPanelWidth]; zeros beyond them.
[[maybe_unused]] void pack_columns(const MatmulBlock& block, std::int64_t k0, std::int64_t depth,
                                   float* packed) {
  const MatmulArguments& a = block.a;
  const float* from = block.right + k0 * a.b_k;
  const std::int64_t full = a.b_n == 1 ? block.columns / kPanelWidth * kPanelWidth : 0;
  for (std::int64_t k = 0; k < depth; ++k)  // columns that lie as they are packed
    for (std::int64_t n = 0; n < full; n += kPanelWidth)
      for (int v = 0; v < kPanelWidth; v += kLanes)
        store(packed + n * depth + k * kPanelWidth + v, load(from + k * a.b_k + n + v));
  for (std::int64_t n = full; n < block.columns; n += kPanelWidth) {
    const std::int64_t columns = block.columns - n < kPanelWidth ? block.columns - n : kPanelWidth;
    float* to = packed + n * depth;
    for (std::int64_t i = 0; columns < kPanelWidth && i < depth * kPanelWidth; ++i) to[i] = 0;
    turn_part(from + n * a.b_n, a.b_n, a.b_k, columns, depth, to, kPanelWidth);
  }
}

/// Inputs [k0, k0 + depth) of `rows` rows from row m, [input, row].
[[maybe_unused]] void pack_left(const MatmulBlock& block, std::int64_t m, std::int64_t rows,
                                std::int64_t k0, std::int64_t depth, float* packed) {
  const MatmulArguments& a = block.a;
  turn_part(block.left + m * a.a_m + k0 * a.a_k, a.a_m, a.a_k, rows, depth, packed, rows);
}

[[maybe_unused]] void multiply_block(const MatmulBlock& block) {
  alignas(64) float right[kMatmulColumns * kSteps];
  alignas(64) float left[kRowTile * kSteps];
  const MatmulArguments& a = block.a;
  for (std::int64_t k0 = 0; k0 < a.k || k0 == 0; k0 += kSteps) {
    const std::int64_t depth = a.k - k0 < kSteps ? a.k - k0 : kSteps;
    pack_columns(block, k0, depth, right);
    for (std::int64_t m = block.m; m < block.m_end;) {
      const std::int64_t rows = block.m_end - m < kRowTile ? block.m_end - m : kRowTile;
      pack_left(block, m, rows, k0, depth, left);
      for (std::int64_t n = 0; n < block.columns; n += kPanelWidth) {
        const std::int64_t columns =
            block.columns - n < kPanelWidth ? block.columns - n : kPanelWidth;
        const Tile<float, float> tile = {
            left, right + n * depth, 0, depth, block.out + m * a.out_m + n, a.out_m, k0 == 0};
        run_tile(tile, tile_function<float, float>(rows, false), rows, columns);
      }
      m += rows;
    }
  }
}

[[maybe_unused]] void matmul(const Launch& launch, const MatmulArguments& a) {
  if (a.m == 0 || a.n == 0) return;
  const std::int64_t groups = (a.n + kMatmulColumns - 1) / kMatmulColumns;
  const std::int64_t most_pieces = (a.m + kMatmulLeastRows - 1) / kMatmulLeastRows;
  constexpr std::int64_t kProductsPerMatmulTask = 1 << 18;
  const std::int64_t wanted =
      task_count(launch, a.batches * a.m * a.n * a.k, kProductsPerMatmulTask);
  // Rows are cut where the columns alone do not keep all threads busy.
  const std::int64_t short_of = (wanted + a.batches * groups - 1) / (a.batches * groups);
  const std::int64_t pieces = short_of < most_pieces ? short_of : most_pieces;
  const std::int64_t items = a.batches * groups * pieces;
  parallel_tasks(launch, wanted < items ? wanted : items, [&](std::int64_t task) {
    const std::int64_t tasks = wanted < items ? wanted : items;
    for (std::int64_t i = items * task / tasks; i < items * (task + 1) / tasks; ++i) {
      const std::int64_t piece = i % pieces, group = i / pieces % groups,
                         batch = i / pieces / groups;
      const std::int64_t n = group * kMatmulColumns;
      const std::int64_t left = a.n - n;
      multiply_block({a, a.a + batch * a.a_batch, a.b + batch * a.b_batch + n * a.b_n,
                      a.out + batch * a.out_batch + n, a.m * piece / pieces,
                      a.m * (piece + 1) / pieces, left < kMatmulColumns ? left : kMatmulColumns});
    }
  });
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
