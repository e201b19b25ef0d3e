// Writes the sequences of a step for the device; host code only.
#include "kernels/cuda/kv_rows.h"

#include <cstring>

#include "kernels/cuda/attention.h"

namespace perilune::kernels::cuda {
namespace {

/// Where the parts lie, in bytes from the start.
struct Parts {
  std::size_t rows, row_of_token, row_of_few_token, arrived, pages, end;
};

std::size_t rounded_up(std::size_t bytes) {
  return (bytes + 15) / 16 * 16;
}

/// Of the positions that hold keys: queries of another sequence may stand beyond its pages.
std::int64_t page_count(const KvLayout& layout, const KvRow& row) {
  return (row.key_count + layout.page_tokens - 1) / layout.page_tokens;
}

Parts parts_of(const KvLayout& layout, const KvRow* rows, std::int64_t count) {
  std::int64_t tokens = 0, few = 0, pages = 0;
  for (std::int64_t r = 0; r < count; ++r) {
    tokens += rows[r].tokens;
    if (rows[r].tokens <= kFewTokens) few += rows[r].tokens;
    pages += page_count(layout, rows[r]);
  }
  const auto bytes = [](std::int64_t elements, std::size_t size) {
    return rounded_up(static_cast<std::size_t>(elements) * size);
  };
  Parts parts;
  parts.rows = rounded_up(sizeof(DeviceRows));
  parts.row_of_token = parts.rows + bytes(count, sizeof(DeviceRow));
  parts.row_of_few_token = parts.row_of_token + bytes(tokens, sizeof(std::int32_t));
  parts.arrived = parts.row_of_few_token + bytes(few, sizeof(std::int32_t));
  parts.pages = parts.arrived + bytes(count * layout.kv_heads, sizeof(unsigned));
  parts.end = parts.pages + bytes(pages, sizeof(void*));
  return parts;
}

}  // namespace

std::size_t kv_rows_bytes(const KvLayout& layout, const KvRow* rows, std::int64_t count) {
  return parts_of(layout, rows, count).end;
}

void kv_rows_stage(const KvLayout& layout, const KvRow* rows, std::int64_t count, void* host,
                   const void* device) {
  const Parts parts = parts_of(layout, rows, count);
  char* const bytes = static_cast<char*>(host);
  const char* const there = static_cast<const char*>(device);
  std::memset(bytes, 0, parts.end);
  const auto put = [bytes](std::size_t at, const auto& value) {
    std::memcpy(bytes + at, &value, sizeof value);
  };
  put(0, DeviceRows{count, reinterpret_cast<const DeviceRow*>(there + parts.rows),
                    reinterpret_cast<const std::int32_t*>(there + parts.row_of_token),
                    reinterpret_cast<const std::int32_t*>(there + parts.row_of_few_token),
                    // Only kernels write it, where the device reads it.
                    reinterpret_cast<unsigned*>(const_cast<char*>(there) + parts.arrived)});
  std::size_t page_at = parts.pages, token_at = parts.row_of_token, few_at = parts.row_of_few_token;
  std::int64_t tokens = 0, few = 0;
  for (std::int64_t r = 0; r < count; ++r) {
    const KvRow& row = rows[r];
    put(parts.rows + static_cast<std::size_t>(r) * sizeof(DeviceRow),
        DeviceRow{row.first_token, row.tokens, row.first_position, row.key_count, tokens, few,
                  reinterpret_cast<void* const*>(there + page_at)});
    const auto pages = static_cast<std::size_t>(page_count(layout, row));
    if (pages > 0) std::memcpy(bytes + page_at, row.pages, pages * sizeof(void*));
    page_at += pages * sizeof(void*);
    const auto index = static_cast<std::int32_t>(r);
    for (std::int64_t t = 0; t < row.tokens; ++t, token_at += sizeof index) put(token_at, index);
    tokens += row.tokens;
    if (row.tokens > kFewTokens) continue;
    for (std::int64_t t = 0; t < row.tokens; ++t, few_at += sizeof index) put(few_at, index);
    few += row.tokens;
  }
}

}  // namespace perilune::kernels::cuda
