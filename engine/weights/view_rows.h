// Rows of a stored matrix, a few at a time.
#pragma once

#include <cstdint>

#include "engine/files/row_storage.h"
#include "engine/weights/stored_view.h"

namespace perilune {

/// Where the view's row `row` begins, in stored elements.
std::int64_t row_begin(const StoredView& view, std::int64_t row);

/// Blocks where the view's rows are rows of blocks in its file; else the numbers that they are read
/// as.
RowStorage storage_of(const StoredView& view);

/// Rows [first, first + count) of a view with two axes as they are stored (storage_of), into `to`
/// [count, row bytes]. Throws Error(file).
void read_stored_rows(const StoredView& view, std::int64_t first, std::int64_t count,
                      std::uint8_t* to);

/// Rows [first, first + count) of a view with two axes, as f32, into `to` [count, inputs]. Reads
/// the file; keeps nothing. Throws Error(file).
void read_view_rows(const StoredView& view, std::int64_t first, std::int64_t count, float* to);

}  // namespace perilune
