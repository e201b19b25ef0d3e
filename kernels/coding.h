// Weights of few bits: what a packed code means, and the published formats that store them in
// blocks. One entry here is all that reading, packing, products and reports need to know of a
// format.
#pragma once

#include <cstdint>

namespace perilune::kernels {

/// Inputs whose codes lie together in a packed matrix; in mode int8 they share an activation scale.
inline constexpr std::int64_t kCodedBlock = 32;
/// Inputs that share the outer scale of ScaleType::nested.
inline constexpr std::int64_t kNestedBlock = 256;

/// f16 and f32: one number a group. nested: an f16 for kNestedBlock inputs times a whole number of
/// eight bits for each group.
enum class ScaleType : std::uint8_t { f16, f32, nested };

/// How a packed matrix of codes means numbers: weight = scale * value / divisor + minimum, each
/// step rounded to f32 (coded_weight). A code of 8 bits is its value + 128; one of fewer is code -
/// zero, or of 4 bits levels[code] or values[code] where there is a table. With zero points a value
/// is less by its group's.
struct Coding {
  std::uint8_t bits;    // of a packed code: 2, 3, 4, 5, 6 or 8
  std::uint16_t group;  // inputs that share a scale: 16, 32, or more of kCodedBlock
  ScaleType scale;      // nested: groups of 16 or 32
  bool minimum;         // groups have one, stored as the scale is; nested ones are taken negative
  std::int8_t zero;
  const std::int8_t* values;  // [16] or null
  bool zero_points = false;   // groups of kCodedBlock and more have one; no minimum then
  float divisor = 1;
  const float* levels = nullptr;  // [16] or null; not for MathMode::int8
};

/// The value of a code, where there are no levels.
inline int code_value(const Coding& coding, int code) {
  if (coding.bits == 8) return code - 128;
  return coding.values != nullptr ? coding.values[code] : code - coding.zero;
}

/// What a value means.
inline float coded_weight(const Coding& coding, float value, float scale, float minimum) {
  float weight = value * scale;
  if (coding.divisor != 1) weight /= coding.divisor;
  return coding.minimum ? weight + minimum : weight;
}

/// A stored block taken apart, its codes as Coding packs them.
struct CodedBlock {
  std::uint8_t codes[kNestedBlock];
  float scale, minimum;  // of the block (f16, f32), or the outer ones (nested)
  std::int8_t zero_point;
  std::int8_t scales[kNestedBlock / 16], minimums[kNestedBlock / 16];  // nested: for each group
};

/// A layout of quantized rows: one that others publish, or one of our own that what others publish
/// in parts is read as (block_formats_own.cpp). Blocks of a group that is longer than a block have
/// one scale.
struct BlockFormat {
  const char* name;       // as its publisher spells it
  std::int64_t elements;  // of a block, all of one row; the last of a row may be padded with any
  std::int64_t bytes;     // of a block
  Coding coding;
  void (*read)(const std::uint8_t* block, CodedBlock* to);
  /// Rounds a row of `inputs` finite values to its blocks. Null where nothing is written here.
  void (*write)(const float* row, std::int64_t inputs, std::uint8_t* blocks) = nullptr;
  /// Made for activations that are not rounded: compute="auto" leaves them so.
  bool weight_only = false;

  std::int64_t row_blocks(std::int64_t inputs) const { return (inputs + elements - 1) / elements; }
};

/// The format called `name`, or null. The formats live as long as the program.
const BlockFormat* find_block_format(const char* name);
/// The format at `index`, null at the end.
const BlockFormat* block_format(int index);

/// The `format.elements` values of a stored block, exactly as its publisher defines them.
void read_block_values(const BlockFormat& format, const std::uint8_t* block, float* out);

}  // namespace perilune::kernels
