#include "engine/weights/view_rows.h"

#include <cstring>
#include <vector>

#include "engine/base/error.h"

namespace perilune {
namespace {

/// Whether the view's rows are rows of the stored tensor.
bool keeps_rows(const StoredView& view, const StoredTensor& stored) {
  if (view.sizes.size() != 2 || view.strides[1] != 1) return false;
  const std::int64_t inputs = stored.sizes.back();
  const auto whole = [&](std::int64_t elements) { return elements % inputs == 0; };
  return inputs > 0 && view.sizes[1] == inputs && whole(view.strides[0]) && whole(view.offset) &&
         whole(view.group_stride);
}

/// Calls part(first row, rows, where the first begins) for rows that are `step` elements apart.
template <class Part>
void each_run(const StoredView& view, std::int64_t first, std::int64_t count, std::int64_t step,
              const Part& part) {
  for (std::int64_t row = first; row < first + count;) {
    const std::int64_t begin = row_begin(view, row);
    std::int64_t next = row + 1;
    while (next < first + count && row_begin(view, next) == begin + (next - row) * step) ++next;
    part(row, next - row, begin);
    row = next;
  }
}

/// Rows as the numbers that the file is read as, in the view's dtype.
void read_numbers(const StoredView& view, std::int64_t first, std::int64_t count,
                  std::uint8_t* to) {
  const StoredTensor& stored = *view.file->find(view.stored_name);
  const std::int64_t inputs = view.sizes[1];
  const auto element = static_cast<std::int64_t>(dtype_size(view.dtype));
  const auto place = [&](std::int64_t row) { return to + (row - first) * inputs * element; };
  const auto read = [&](std::int64_t begin, std::int64_t elements, std::uint8_t* into) {
    view.file->read(stored, static_cast<std::uint64_t>(begin * element),
                    static_cast<std::size_t>(elements * element), into);
  };
  if (view.strides[1] == 1) {
    each_run(view, first, count, inputs,
             [&](std::int64_t row, std::int64_t rows, std::int64_t begin) {
               read(begin, rows * inputs, place(row));
             });
    return;
  }
  // A transposed matrix: a part of one column at a time.
  std::vector<std::uint8_t> column;
  each_run(view, first, count, view.strides[0],
           [&](std::int64_t row, std::int64_t rows, std::int64_t begin) {
             const std::int64_t span = (rows - 1) * view.strides[0] + 1;
             column.resize(static_cast<std::size_t>(span * element));
             for (std::int64_t i = 0; i < inputs; ++i) {
               read(begin + i * view.strides[1], span, column.data());
               for (std::int64_t r = 0; r < rows; ++r) {
                 std::memcpy(place(row + r) + i * element,
                             column.data() + r * view.strides[0] * element,
                             static_cast<std::size_t>(element));
               }
             }
           });
}

}  // namespace

std::int64_t row_begin(const StoredView& view, std::int64_t row) {
  if (view.group_rows != 0) {
    return view.offset + row / view.group_rows * view.group_stride +
           row % view.group_rows * view.strides[0];
  }
  if (view.head_rows != 0) {
    const std::int64_t in_head = row % view.head_rows, half = view.head_rows / 2;
    row += in_head % half * 2 + in_head / half - in_head;
  }
  return view.offset + row * view.strides[0];
}

RowStorage storage_of(const StoredView& view) {
  const StoredTensor* stored = view.file->find(view.stored_name);
  if (stored != nullptr && stored->format != nullptr && keeps_rows(view, *stored)) {
    return {DType::f32, stored->format};
  }
  return {view.dtype, nullptr};
}

void read_stored_rows(const StoredView& view, std::int64_t first, std::int64_t count,
                      std::uint8_t* to) {
  const RowStorage storage = storage_of(view);
  if (storage.blocks == nullptr) return read_numbers(view, first, count, to);
  const StoredTensor& stored = *view.file->find(view.stored_name);
  const std::int64_t inputs = view.sizes[1], row_bytes = storage.row_bytes(inputs);
  const std::int64_t row_blocks = storage.blocks->row_blocks(inputs);
  each_run(view, first, count, inputs,
           [&](std::int64_t row, std::int64_t rows, std::int64_t begin) {
             view.file->read_blocks(stored, static_cast<std::uint64_t>(begin / inputs * row_blocks),
                                    static_cast<std::size_t>(rows * row_blocks),
                                    to + (row - first) * row_bytes);
           });
}

void read_view_rows(const StoredView& view, std::int64_t first, std::int64_t count, float* to) {
  if (!is_float(view.dtype)) {
    throw Error(ErrorCode::unsupported, "load",
                "tensor \"" + view.stored_name + "\" is stored as " + dtype_name(view.dtype) +
                    ", a weight is f32, f16 or bf16")
        .where(view.file->path());
  }
  if (view.dtype == DType::f32) {
    return read_numbers(view, first, count, reinterpret_cast<std::uint8_t*>(to));
  }
  const auto values = static_cast<std::size_t>(count * view.sizes[1]);
  std::vector<std::uint8_t> halves(values * 2);
  read_numbers(view, first, count, halves.data());
  for (std::size_t i = 0; i < values; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, halves.data() + 2 * i, sizeof bits);
    to[i] = view.dtype == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
}

}  // namespace perilune
