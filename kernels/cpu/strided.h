// Walks tensors of up to six axes with any strides: axes are merged where all operands allow it,
// and the last axis is handed out in pieces of at most kPiece elements.
#pragma once

#include <cstdint>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/kernel_table.h"

namespace perilune::kernels {
namespace {

inline constexpr std::int64_t kPiece = 256;

/// One operand's part of a piece: the address of its first element, and the distance to the next.
struct Run {
  char* data;
  DType dtype;
  std::int64_t stride;  // elements
};

/// The same walk for `Operands` tensors.
template <int Operands>
struct Walk {
  int rank = 1;
  std::int64_t sizes[kMaxAxes] = {1};
  std::int64_t strides[Operands][kMaxAxes] = {};
  char* data[Operands] = {};
  DType dtypes[Operands] = {};

  Walk(int given_rank, const std::int64_t* given_sizes,
       const Strided* const (&operands)[Operands]) {
    for (int i = 0; i < Operands; ++i) {
      data[i] = static_cast<char*>(operands[i]->data);
      dtypes[i] = operands[i]->dtype;
    }
    rank = 0;
    for (int axis = 0; axis < given_rank; ++axis) {
      if (given_sizes[axis] == 1) continue;
      if (rank > 0 && mergeable(axis, given_sizes[axis], operands)) {
        sizes[rank - 1] *= given_sizes[axis];
      } else {
        sizes[rank++] = given_sizes[axis];
      }
      for (int i = 0; i < Operands; ++i) strides[i][rank - 1] = operands[i]->strides[axis];
    }
    if (rank == 0) {
      rank = 1;
      sizes[0] = 1;
    }
  }

  std::int64_t count() const {
    std::int64_t total = 1;
    for (int axis = 0; axis < rank; ++axis) total *= sizes[axis];
    return total;
  }

  /// The operand at a flat index of the outer axes, `offset` elements along the last one.
  Run run(int operand, std::int64_t outer, std::int64_t offset) const {
    std::int64_t at = offset * strides[operand][rank - 1];
    for (int axis = rank - 2; axis >= 0; --axis) {
      at += outer % sizes[axis] * strides[operand][axis];
      outer /= sizes[axis];
    }
    return {data[operand] + at * static_cast<std::int64_t>(dtype_size(dtypes[operand])),
            dtypes[operand], strides[operand][rank - 1]};
  }

  /// Calls body(outer index, offset, length) for all pieces.
  template <class Body>
  void pieces(const Launch& launch, const Body& body) const {
    const std::int64_t inner = sizes[rank - 1];
    if (count() == 0) return;
    const std::int64_t per_row = (inner + kPiece - 1) / kPiece, rows = count() / inner;
    const std::int64_t per_task = 1 + 16384 / (inner < kPiece ? inner : kPiece);
    parallel_ranges(launch, rows * per_row, per_task, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t offset = i % per_row * kPiece;
        const std::int64_t left = inner - offset;
        body(i / per_row, offset, left < kPiece ? left : kPiece);
      }
    });
  }

 private:
  bool mergeable(int axis, std::int64_t size, const Strided* const (&operands)[Operands]) const {
    for (int i = 0; i < Operands; ++i)
      if (strides[i][rank - 1] != size * operands[i]->strides[axis]) return false;
    return true;
  }
};

template <class To>
void load_run(const Run& run, std::int64_t count, To* out) {
  const auto read = [&](auto* source, auto convert) {
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = static_cast<To>(convert(source[i * run.stride]));
  };
  const auto same = [](auto value) { return value; };
  switch (run.dtype) {
    case DType::f32: return read(reinterpret_cast<const float*>(run.data), same);
    case DType::f16: return read(reinterpret_cast<const std::uint16_t*>(run.data), f16_to_f32);
    case DType::bf16: return read(reinterpret_cast<const std::uint16_t*>(run.data), bf16_to_f32);
    case DType::i32: return read(reinterpret_cast<const std::int32_t*>(run.data), same);
    case DType::i64: return read(reinterpret_cast<const std::int64_t*>(run.data), same);
    case DType::u8: return read(reinterpret_cast<const std::uint8_t*>(run.data), same);
    case DType::i8: return read(reinterpret_cast<const std::int8_t*>(run.data), same);
    case DType::boolean:
      return read(reinterpret_cast<const std::uint8_t*>(run.data),
                  [](std::uint8_t value) { return value != 0 ? 1 : 0; });
  }
}

/// A float as an integer: toward zero; what does not fit goes to the nearest end, NaN to 0.
template <class Integer>
Integer to_integer(float value) {
  constexpr Integer kLowest = std::numeric_limits<Integer>::min();
  constexpr Integer kHighest = std::numeric_limits<Integer>::max();
  if (value != value) return 0;
  if (value <= static_cast<float>(kLowest)) return kLowest;
  if (value >= static_cast<float>(kHighest)) return kHighest;
  return static_cast<Integer>(value);
}
template <class Integer>
Integer to_integer(std::int64_t value) {
  return static_cast<Integer>(value);
}

template <class From>
void store_run(const Run& run, std::int64_t count, const From* values) {
  const auto write = [&](auto* target, auto convert) {
    for (std::int64_t i = 0; i < count; ++i) target[i * run.stride] = convert(values[i]);
  };
  const auto write_whole = [&]<class Integer>(Integer* target) {
    write(target, [](From value) { return to_integer<Integer>(value); });
  };
  const auto number = [](From value) { return static_cast<float>(value); };
  switch (run.dtype) {
    case DType::f32: return write(reinterpret_cast<float*>(run.data), number);
    case DType::f16:
      return write(reinterpret_cast<std::uint16_t*>(run.data),
                   [&](From value) { return f32_to_f16(number(value)); });
    case DType::bf16:
      return write(reinterpret_cast<std::uint16_t*>(run.data),
                   [&](From value) { return f32_to_bf16(number(value)); });
    case DType::i32: return write_whole(reinterpret_cast<std::int32_t*>(run.data));
    case DType::i64: return write_whole(reinterpret_cast<std::int64_t*>(run.data));
    case DType::u8: return write_whole(reinterpret_cast<std::uint8_t*>(run.data));
    case DType::i8: return write_whole(reinterpret_cast<std::int8_t*>(run.data));
    case DType::boolean:
      return write(reinterpret_cast<std::uint8_t*>(run.data),
                   [](From value) { return static_cast<std::uint8_t>(value != 0 ? 1 : 0); });
  }
}

inline bool is_dense_float(const Run& run) {
  return run.dtype == DType::f32 && run.stride == 1;
}

}  // namespace
}  // namespace perilune::kernels
