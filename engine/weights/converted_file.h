// A weight that is to be stored otherwise than its file has it: rounded to another type of number,
// or quantized into blocks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/files/row_storage.h"
#include "engine/weights/stored_view.h"

namespace perilune {

/// Rows [first, first + count) of the view as they are stored under `storage`, into `to`
/// [count, storage.row_bytes]. Throws Error(file), Error(argument) where a value is no number or
/// beyond what the blocks' scales hold.
void convert_rows(const StoredView& view, const RowStorage& storage, std::int64_t first,
                  std::int64_t count, std::uint8_t* to);

/// A file of one matrix called `name` that has the view's numbers under another storage: they are
/// read and converted whenever they are asked for, and nothing of them is kept. Throws
/// Error(shape) where the view is no matrix.
std::shared_ptr<const TensorFile> converted_file(std::string name, StoredView view,
                                                 RowStorage storage);

/// A file of one matrix, [outputs, inputs], in the blocks given, which it keeps: `bytes` holds
/// outputs * storage.row_bytes(inputs).
std::shared_ptr<const TensorFile> blocks_in_memory(std::string name, std::int64_t outputs,
                                                   std::int64_t inputs, RowStorage storage,
                                                   std::vector<std::uint8_t> bytes);

}  // namespace perilune
