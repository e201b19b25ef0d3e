#include "engine/files/row_storage.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <vector>

#include "engine/base/error.h"

namespace perilune {
namespace {

constexpr std::int64_t kValuesAtOnce = std::int64_t{1} << 18;
constexpr DType kNumberTypes[] = {DType::f32, DType::f16, DType::bf16};

std::string lower(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return text;
}

/// Bytes [begin, begin + size) of rows of `row_bytes` each.
void read_parts(std::int64_t row_bytes, std::int64_t inputs, std::uint64_t begin, std::size_t size,
                void* to, const StoredRows& rows) {
  if (size == 0) return;
  const auto bytes = static_cast<std::uint64_t>(row_bytes);
  const auto last = static_cast<std::int64_t>((begin + size + bytes - 1) / bytes);
  const std::int64_t step = std::max<std::int64_t>(1, kValuesAtOnce / inputs);
  auto* out = static_cast<std::uint8_t*>(to);
  std::vector<std::uint8_t> edge;
  for (auto row = static_cast<std::int64_t>(begin / bytes); row < last;) {
    const std::int64_t count = std::min(step, last - row);
    const std::uint64_t from = static_cast<std::uint64_t>(row) * bytes;
    const std::uint64_t until = from + static_cast<std::uint64_t>(count) * bytes;
    const std::uint64_t first = std::max(from, begin), end = std::min(until, begin + size);
    if (first == from && end == until) {
      rows(row, count, out + (from - begin));
    } else {
      edge.resize(static_cast<std::size_t>(until - from));
      rows(row, count, edge.data());
      std::memcpy(out + (first - begin), edge.data() + (first - from), end - first);
    }
    row += count;
  }
}

/// The values of `count` rows of blocks.
void decode(const RowStorage& storage, std::int64_t inputs, std::int64_t count,
            const std::uint8_t* rows, std::uint8_t* to) {
  const kernels::BlockFormat& format = *storage.blocks;
  std::vector<float> values(static_cast<std::size_t>(format.elements));
  for (std::int64_t row = 0; row < count; ++row) {
    const std::uint8_t* block = rows + row * storage.row_bytes(inputs);
    for (std::int64_t first = 0; first < inputs; first += format.elements, block += format.bytes) {
      kernels::read_block_values(format, block, values.data());
      const std::int64_t some = std::min(format.elements, inputs - first);
      std::memcpy(to + (row * inputs + first) * 4, values.data(),
                  static_cast<std::size_t>(some) * sizeof(float));
    }
  }
}

}  // namespace

const char* RowStorage::name() const {
  return blocks != nullptr ? blocks->name : dtype_name(dtype);
}

std::int64_t RowStorage::row_bytes(std::int64_t inputs) const {
  if (blocks != nullptr) return blocks->row_blocks(inputs) * blocks->bytes;
  return inputs * static_cast<std::int64_t>(dtype_size(dtype));
}

RowStorage row_storage(const std::string& name, const char* op) {
  std::vector<std::string> known;
  const std::string wanted = lower(name);
  for (const DType dtype : kNumberTypes) {
    if (wanted == dtype_name(dtype)) return {dtype, nullptr};
    known.emplace_back(dtype_name(dtype));
  }
  for (int i = 0; const kernels::BlockFormat* format = kernels::block_format(i); ++i) {
    if (format->write == nullptr) continue;
    if (wanted == lower(format->name)) return {DType::f32, format};
    known.push_back(lower(format->name));
  }
  Error error(ErrorCode::option, op, "weights cannot be stored as \"" + name + "\"");
  const std::string guess = did_you_mean(wanted, known);
  if (!guess.empty()) error.hint(guess);
  throw error;
}

void read_rows(const RowStorage& storage, std::int64_t inputs, std::uint64_t begin,
               std::size_t size, void* to, const StoredRows& rows) {
  read_parts(storage.row_bytes(inputs), inputs, begin, size, to, rows);
}

void read_row_values(const RowStorage& storage, std::int64_t inputs, std::uint64_t begin,
                     std::size_t size, void* to, const StoredRows& rows) {
  if (storage.blocks == nullptr) return read_rows(storage, inputs, begin, size, to, rows);
  std::vector<std::uint8_t> stored;
  read_parts(inputs * 4, inputs, begin, size, to,
             [&](std::int64_t first, std::int64_t count, std::uint8_t* part) {
               stored.resize(static_cast<std::size_t>(count * storage.row_bytes(inputs)));
               rows(first, count, stored.data());
               decode(storage, inputs, count, stored.data(), part);
             });
}

}  // namespace perilune
