// Where a key or value lies in a page, and which keys a query sees. Plain arithmetic, a copy per
// source file.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"

namespace perilune::kernels {
namespace {

/// The start of one numeric block of one kv head, keys [head_dim, kKvBlock] or values
/// [kKvBlock, head_dim], in elements from the layer's start in the page.
inline std::int64_t key_block_offset(const KvLayout& layout, std::int64_t position,
                                     std::int64_t kv_head) {
  const std::int64_t block = position % layout.page_tokens / kKvBlock;
  return (block * layout.kv_heads + kv_head) * layout.head_dim * kKvBlock;
}
inline std::int64_t value_block_offset(const KvLayout& layout, std::int64_t position,
                                       std::int64_t kv_head) {
  return layout.page_tokens * layout.kv_heads * layout.head_dim +
         key_block_offset(layout, position, kv_head);
}
/// The scales of a block of i8, [kKvBlock]: those of its keys, in bytes from the layer's start in
/// the page, and how many floats behind them those of its values lie.
inline std::int64_t key_scales_offset(const KvLayout& layout, std::int64_t position,
                                      std::int64_t kv_head) {
  const std::int64_t block = position % layout.page_tokens / kKvBlock;
  return 2 * layout.page_tokens * layout.kv_heads * layout.head_dim +
         (block * layout.kv_heads + kv_head) * kKvBlock * 4;
}
inline std::int64_t value_scales_apart(const KvLayout& layout) {
  return layout.page_tokens * layout.kv_heads;
}
inline char* kv_page(const KvLayout& layout, const KvRow& row, std::int64_t page_offset,
                     std::int64_t position) {
  return static_cast<char*>(row.pages[position / layout.page_tokens]) + page_offset;
}

/// Attention merges partial results per split of so many positions, counted from position 0, so
/// that keys may be dealt to threads in whole splits without a change of bits. The same on GPUs.
inline constexpr std::int64_t kSplitKeys = 8 * kKvBlock;

/// Keys [begin, end) that a query at `position` sees.
struct Visible {
  std::int64_t begin, end;
};
inline Visible visible_keys(const AttentionArguments& a, const KvRow& row, std::int64_t position) {
  Visible visible = {0, row.key_count};
  if (a.mask == Mask::causal && position + 1 < visible.end) visible.end = position + 1;
  if (a.window > 0) {
    if (position - a.window + 1 > 0) visible.begin = position - a.window + 1;
    if (a.mask == Mask::none && position + a.window < visible.end)
      visible.end = position + a.window;
  }
  if (visible.end < visible.begin) visible.end = visible.begin;
  return visible;
}

/// The bias of one head for keys seen from `position`; distances beyond the table take its ends.
inline float relative_bias_at(const AttentionArguments& a, std::int64_t head, std::int64_t key,
                              std::int64_t position) {
  std::int64_t entry = key - position - a.relative_first;
  if (entry < 0) entry = 0;
  if (entry >= a.relative_count) entry = a.relative_count - 1;
  return a.relative_bias[head * a.relative_count + entry];
}

}  // namespace
}  // namespace perilune::kernels
