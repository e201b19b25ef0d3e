#include "kernels/cpu/panels.h"

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

template <class From, class To>
void pack_panel(const PackArguments& a, WeightFormat target, const PanelShape& shape,
                std::int64_t panel, To* out) {
  constexpr std::int64_t kInputBlock = 64;  // keeps the written lines in cache while j runs
  const From* source = static_cast<const From*>(a.source);
  const std::int64_t first = panel * shape.width;
  for (std::int64_t k0 = 0; k0 < shape.inputs; k0 += kInputBlock) {
    const std::int64_t k1 = k0 + kInputBlock < shape.inputs ? k0 + kInputBlock : shape.inputs;
    for (std::int64_t j = 0; j < shape.width; ++j) {
      const bool used = first + j < a.outputs;
      const From* row = source + (first + j) * a.output_stride;
      for (std::int64_t k = k0; k < k1; ++k) {
        const std::int64_t at = (k / shape.group * shape.width + j) * shape.group + k % shape.group;
        out[at] = used && k < a.inputs
                      ? Convert<From, To>::run(row[k * a.input_stride], a.source_format, target)
                      : To{};
      }
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
      pack_panel<From, To>(a, target, shape, panel,
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
