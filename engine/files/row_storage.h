// Rows of a stored matrix: numbers of a type, or blocks of a format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "kernels/coding.h"
#include "kernels/dtype.h"

namespace perilune {

/// How the rows of a weight are stored.
struct RowStorage {
  DType dtype = DType::f32;                      // of numbers; f32 of blocks, which read as such
  const kernels::BlockFormat* blocks = nullptr;  // null: numbers

  /// "Q4_K", "bf16"
  const char* name() const;
  /// Bytes of a row of `inputs` values.
  std::int64_t row_bytes(std::int64_t inputs) const;
};

/// The dtype or block format of that name, in any case, that is written here. Throws Error(option)
/// naming the nearest.
RowStorage row_storage(const std::string& name, const char* op);

/// Makes stored rows [first, first + count) at `to`.
using StoredRows = std::function<void(std::int64_t first, std::int64_t count, std::uint8_t* to)>;

/// Bytes [begin, begin + size) of a matrix's stored rows, which `rows` makes a part at a time.
void read_rows(const RowStorage& storage, std::int64_t inputs, std::uint64_t begin,
               std::size_t size, void* to, const StoredRows& rows);

/// Bytes [begin, begin + size) of the values that the rows stand for, as f32 where they are blocks.
void read_row_values(const RowStorage& storage, std::int64_t inputs, std::uint64_t begin,
                     std::size_t size, void* to, const StoredRows& rows);

}  // namespace perilune
