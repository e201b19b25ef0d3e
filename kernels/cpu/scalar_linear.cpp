// linear: out[r, o] = activation((sum over k of x[r, k] * w[o, k]) * scale + bias[o]).
// The sum is one chain of fused multiply-adds over k ascending, from 0.
#include <cmath>

#include "kernels/cpu/panels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace perilune::kernels::scalar {
namespace {

float weight_at(const PackedMatrix& matrix, std::int64_t output, std::int64_t input) {
  const std::int64_t at =
      (output / panels::kScalarLayout.width * matrix.inputs + input) * panels::kScalarLayout.width +
      output % panels::kScalarLayout.width;
  if (matrix.format == WeightFormat::f32) return static_cast<const float*>(matrix.data)[at];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(matrix.data)[at];
  return matrix.format == WeightFormat::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

float one_output(const LinearArguments& a, const LinearSegment& segment, std::int64_t row,
                 std::int64_t output) {
  const float* x = a.x + row * a.x_stride;
  float sum = 0.0f;
  for (std::int64_t k = 0; k < a.inputs; ++k) {
    const float input = a.math == MathMode::bf16 ? bf16_to_f32(f32_to_bf16(x[k])) : x[k];
    sum = std::fma(input, weight_at(segment.weight, output, k), sum);
  }
  if (a.scale != 1.0f) sum *= a.scale;
  if (segment.bias != nullptr) sum += segment.bias[output];
  return activate(segment.activation, sum);
}

}  // namespace

std::size_t linear_scratch(const LinearArguments&, int) {
  return 0;
}

void linear(const Launch& launch, const LinearArguments& a) {
  for (std::int64_t s = 0; s < a.segment_count; ++s) {
    const LinearSegment& segment = a.segments[s];
    parallel_ranges(launch, segment.weight.outputs, 1 + 4096 / (a.inputs * a.rows + 1),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t row = 0; row < a.rows; ++row)
                        for (std::int64_t o = begin; o < end; ++o)
                          segment.out[row * segment.out_stride + o] =
                              one_output(a, segment, row, o);
                    });
  }
}

}  // namespace perilune::kernels::scalar
