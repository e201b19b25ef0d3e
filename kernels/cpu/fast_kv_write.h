// Keys and values to their pages where they need no rotation and pages hold f16: rounded in
// vectors, to the bits of kv_write.cpp, which does all else.
#pragma once

#include "kernels/cpu/kv.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

[[maybe_unused]] void write_f16_token(const KvWriteArguments& a, const KvRow& row,
                                      std::int64_t index) {
  const KvLayout& layout = a.layout;
  const std::int64_t token = row.first_token + index, position = row.first_position + index;
  auto* page = reinterpret_cast<F16*>(kv_page(layout, row, a.page_offset, position));
  const std::int64_t slot = position % kKvBlock, width = layout.head_dim;
  for (std::int64_t head = 0; head < layout.kv_heads; ++head) {
    const std::int64_t at = (token * layout.kv_heads + head) * width;
    F16* key = page + key_block_offset(layout, position, head) + slot;
    F16* value = page + value_block_offset(layout, position, head) + slot * width;
    for (std::int64_t d = 0; d < width; d += kLanes) {
      F16 lanes[kLanes];
      store(lanes, load(a.k + at + d));
      for (int i = 0; i < kLanes; ++i) key[(d + i) * kKvBlock] = lanes[i];
      store(value + d, load(a.v + at + d));
    }
  }
}

[[maybe_unused]] void kv_write(const Launch& launch, const KvWriteArguments& a) {
  const std::int64_t width = a.layout.head_dim;
  const bool plain = a.cosine == nullptr && width % kLanes == 0;
  if (a.layout.dtype != DType::f16 || !plain) return scalar::kv_write(launch, a);
  const std::int64_t per_task = 1 + 8192 / (a.layout.kv_heads * width + 1);
  for (std::int64_t r = 0; r < a.row_count; ++r)
    parallel_ranges(launch, a.rows[r].tokens, per_task, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) write_f16_token(a, a.rows[r], i);
    });
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
