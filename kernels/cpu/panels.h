// How weights are packed on a CPU: `width` outputs side by side, inputs ascending, so that one
// vector load brings the same input of neighbouring outputs. Compiled once, used by every tier.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace perilune::kernels::panels {

/// Element (o, k) of panel o / width lies at k * width + o % width; with `pairs`, in mode bf16, at
/// ((k / 2) * width + o % width) * 2 + k % 2. Unused outputs and an odd last pair are zero.
struct Layout {
  std::int64_t width;
  bool pairs;
};

/// What the plain kernels read.
inline constexpr Layout kScalarLayout = {16, false};

inline bool is_paired(const Layout& layout, MathMode math) {
  return layout.pairs && math == MathMode::bf16;
}
inline std::int64_t padded_inputs(const Layout& layout, MathMode math, std::int64_t inputs) {
  return is_paired(layout, math) ? (inputs + 1) / 2 * 2 : inputs;
}
inline std::size_t format_bytes(WeightFormat format) {
  return format == WeightFormat::f32 ? 4 : 2;
}

/// The format of the packed elements: bf16 in mode bf16, else the source's own.
WeightFormat packed_format(WeightFormat source, MathMode math);
std::size_t packed_bytes(const Layout& layout, WeightFormat source, std::int64_t outputs,
                         std::int64_t inputs, MathMode math);
void pack(const Launch& launch, const Layout& layout, const PackArguments& arguments);
/// out [count, inputs] = rows[i] of the matrix, widened exactly.
void unpack_rows(const Launch& launch, const Layout& layout, const PackedMatrix& matrix,
                 const std::int64_t* rows, std::int64_t count, float* out);
void embedding(const Launch& launch, const Layout& layout, const EmbeddingArguments& arguments);

}  // namespace perilune::kernels::panels
