#include "kernels/cpu/panels.h"

#include <emmintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/coded_panels.h"
#include "kernels/cpu/parallel.h"

namespace perilune::kernels::panels {
namespace {

float widen(float value, WeightFormat) {
  return value;
}
float widen(std::uint16_t value, WeightFormat format) {
  return format == WeightFormat::bf16 ? bf16_to_f32(value) : f16_to_f32(value);
}

/// Turns a source element into a packed one. Same formats are copied bit for bit.
template <class From, class To>
struct Convert;
template <class Same>
struct Convert<Same, Same> {
  static Same run(Same value, WeightFormat source, WeightFormat target) {
    if constexpr (sizeof(Same) == 2) {
      if (source != target) return f32_to_bf16(widen(value, source));
    }
    return value;
  }
};
template <>
struct Convert<float, std::uint16_t> {
  static std::uint16_t run(float value, WeightFormat, WeightFormat) { return f32_to_bf16(value); }
};

struct PanelShape {
  std::int64_t width, inputs, group;  // group: 2 with pairs, else 1
  std::int64_t elements;
};

constexpr std::int64_t kStrip = 8;         // outputs that are turned together
constexpr std::int64_t kStripInputs = 64;  // of each

__m128i load_words(const char* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
/// The lower halves of a and b, and the upper ones.
void store_halves(char* to, std::int64_t stride, __m128i a, __m128i b) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi64(a, b));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + stride), _mm_unpackhi_epi64(a, b));
}

/// A square of 8 words of 2 bytes, whose columns become rows; strides in bytes.
void turn_halves(const char* from, std::int64_t from_stride, char* to, std::int64_t to_stride) {
  __m128i pairs[8], fours[8];
  for (int i = 0; i < 4; ++i) {
    const __m128i a = load_words(from + 2 * i * from_stride);
    const __m128i b = load_words(from + (2 * i + 1) * from_stride);
    pairs[2 * i] = _mm_unpacklo_epi16(a, b);
    pairs[2 * i + 1] = _mm_unpackhi_epi16(a, b);
  }
  for (int i = 0; i < 4; ++i) {  // rows 0 to 3, their columns 0 to 3 and 4 to 7; then 4 to 7
    const __m128i a = pairs[4 * (i / 2) + i % 2], b = pairs[4 * (i / 2) + i % 2 + 2];
    fours[2 * i] = _mm_unpacklo_epi32(a, b);
    fours[2 * i + 1] = _mm_unpackhi_epi32(a, b);
  }
  for (int i = 0; i < 4; ++i)
    store_halves(to + 2 * i * to_stride, to_stride, fours[i], fours[i + 4]);
}
/// The same of 4 words of 4 bytes.
void turn_words(const char* from, std::int64_t from_stride, char* to, std::int64_t to_stride) {
  const __m128i a = load_words(from), b = load_words(from + from_stride);
  const __m128i c = load_words(from + 2 * from_stride), d = load_words(from + 3 * from_stride);
  store_halves(to, to_stride, _mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
  store_halves(to + 2 * to_stride, to_stride, _mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
}

/// Word i of row j of the strip becomes word j of row i, for `count` of them.
template <std::int64_t kWordBytes>
void turn_strip(const char* strip, std::int64_t row_bytes, std::int64_t count, char* to,
                std::int64_t to_stride) {
  constexpr std::int64_t kSide = kWordBytes == 2 ? 8 : 4;
  constexpr auto kTurn = kWordBytes == 2 ? turn_halves : turn_words;
  std::int64_t i = 0;
  for (; i + kSide <= count; i += kSide)
    for (std::int64_t j = 0; j < kStrip; j += kSide)
      kTurn(strip + j * row_bytes + i * kWordBytes, row_bytes, to + i * to_stride + j * kWordBytes,
            to_stride);
  for (; i < count; ++i)
    for (std::int64_t j = 0; j < kStrip; ++j)
      std::memcpy(to + i * to_stride + j * kWordBytes, strip + j * row_bytes + i * kWordBytes,
                  kWordBytes);
}

/// Inputs [first, first + count) of output `row` as packed, zeros where there are none.
template <class From, class To>
void read_strip(const PackArguments& a, WeightFormat target, std::int64_t row, std::int64_t first,
                std::int64_t count, To* to) {
  const std::int64_t used = row < a.outputs ? std::min(a.inputs - first, count) : 0;
  const From* from = static_cast<const From*>(a.source);
  if (used != 0) from += row * a.output_stride + first * a.input_stride;
  if (std::is_same_v<From, To> && a.input_stride == 1 && a.source_format == target) {
    std::memcpy(to, from, static_cast<std::size_t>(used) * sizeof(To));
  } else {
    for (std::int64_t i = 0; i < used; ++i)
      to[i] = Convert<From, To>::run(from[i * a.input_stride], a.source_format, target);
  }
  for (std::int64_t i = used; i < count; ++i) to[i] = To{};
}

template <class From, class To>
void pack_panel(const PackArguments& a, WeightFormat target, const PanelShape& shape,
                std::int64_t panel, To* out) {
  To strip[kStrip][kStripInputs];
  const auto word = static_cast<std::int64_t>(sizeof(To)) * shape.group;
  const auto turn = word == 2 ? turn_strip<2> : turn_strip<4>;
  for (std::int64_t k = 0; k < shape.inputs; k += kStripInputs) {
    const std::int64_t count = std::min(kStripInputs, shape.inputs - k);
    for (std::int64_t column = 0; column < shape.width; column += kStrip) {
      for (std::int64_t j = 0; j < kStrip; ++j)
        read_strip<From>(a, target, panel * shape.width + column + j, k, count, strip[j]);
      turn(reinterpret_cast<const char*>(strip), sizeof strip[0], count / shape.group,
           reinterpret_cast<char*>(out + k * shape.width) + column * word, shape.width * word);
    }
  }
}

template <class From, class To>
void pack_all(const Launch& launch, const PackArguments& a, WeightFormat target,
              const PanelShape& shape) {
  const std::int64_t count = (a.outputs + shape.width - 1) / shape.width;
  const std::int64_t per_task = 1 + 65536 / (shape.elements + 1);
  parallel_ranges(launch, count, per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel)
      pack_panel<From>(a, target, shape, panel,
                       static_cast<To*>(a.destination) + panel * shape.elements);
  });
}

PanelShape shape_of(const Layout& layout, MathMode math, std::int64_t inputs) {
  const std::int64_t padded = padded_inputs(layout, math, inputs);
  return {layout.width, padded, is_paired(layout, math) ? 2 : 1, padded * layout.width};
}

/// out[k] = element (row, k) * scale.
template <class Element>
void read_row(const Layout& layout, const PackedMatrix& matrix, std::int64_t row, float scale,
              float* out) {
  const PanelShape shape = shape_of(layout, matrix.math, matrix.inputs);
  const Element* panel =
      static_cast<const Element*>(matrix.data) + row / shape.width * shape.elements;
  const std::int64_t j = row % shape.width;
  for (std::int64_t k = 0; k < matrix.inputs; ++k) {
    const std::int64_t at = (k / shape.group * shape.width + j) * shape.group + k % shape.group;
    const float value = widen(panel[at], matrix.format);
    out[k] = scale == 1.0f ? value : value * scale;
  }
}

void read_row_any(const Layout& layout, const PackedMatrix& matrix, std::int64_t row, float scale,
                  float* out) {
  if (matrix.format == WeightFormat::coded)
    coded_panels::read_row(layout.width, matrix, row, scale, out);
  else if (matrix.format == WeightFormat::f32)
    read_row<float>(layout, matrix, row, scale, out);
  else
    read_row<std::uint16_t>(layout, matrix, row, scale, out);
}

}  // namespace

WeightFormat packed_format(WeightFormat source, MathMode math) {
  return math == MathMode::bf16 ? WeightFormat::bf16 : source;
}

std::size_t packed_bytes(const Layout& layout, WeightFormat source, std::int64_t outputs,
                         std::int64_t inputs, MathMode math) {
  const std::int64_t count = (outputs + layout.width - 1) / layout.width;
  return static_cast<std::size_t>(count * shape_of(layout, math, inputs).elements) *
         format_bytes(packed_format(source, math));
}

void pack(const Launch& launch, const Layout& layout, const PackArguments& a) {
  const WeightFormat target = packed_format(a.source_format, a.math);
  const PanelShape shape = shape_of(layout, a.math, a.inputs);
  if (a.source_format != WeightFormat::f32)
    pack_all<std::uint16_t, std::uint16_t>(launch, a, target, shape);
  else if (target == WeightFormat::f32)
    pack_all<float, float>(launch, a, target, shape);
  else
    pack_all<float, std::uint16_t>(launch, a, target, shape);
}

void unpack_rows(const Launch& launch, const Layout& layout, const PackedMatrix& matrix,
                 const std::int64_t* rows, std::int64_t count, float* out) {
  parallel_ranges(launch, count, 1 + 4096 / (matrix.inputs + 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i)
                      read_row_any(layout, matrix, rows[i], 1.0f, out + i * matrix.inputs);
                  });
}

void embedding(const Launch& launch, const Layout& layout, const EmbeddingArguments& a) {
  parallel_ranges(launch, a.rows, 1 + 4096 / (a.table.inputs + 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t i = begin; i < end; ++i)
                      read_row_any(layout, a.table, a.ids[i] + a.id_offset, a.scale,
                                   a.out + i * a.table.inputs);
                  });
}

}  // namespace perilune::kernels::panels
