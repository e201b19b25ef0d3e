// linear: out[r, o] = activation((sum over k of x[r, k] * w[o, k]) * scale + bias[o]).
// The sum is one chain of fused multiply-adds over k ascending, from 0; in mode int8 over groups of
// k (MathMode has the formula).
#include <algorithm>
#include <cmath>

#include "kernels/cpu/coded_layout.h"
#include "kernels/cpu/coded_panels.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace perilune::kernels::scalar {
namespace {

float weight_at(const PackedMatrix& matrix, std::int64_t output, std::int64_t input) {
  if (matrix.format == WeightFormat::coded) {
    const auto e = coded_panels::element(panels::kScalarLayout.width, matrix, output, input);
    return matrix.math == MathMode::bf16 ? bf16_to_f32(f32_to_bf16(e.weight)) : e.weight;
  }
  const std::int64_t at =
      (output / panels::kScalarLayout.width * matrix.inputs + input) * panels::kScalarLayout.width +
      output % panels::kScalarLayout.width;
  if (matrix.format == WeightFormat::f32) return static_cast<const float*>(matrix.data)[at];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(matrix.data)[at];
  return matrix.format == WeightFormat::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

/// A block of x in mode int8.
struct RoundedBlock {
  float scale;
  std::int32_t codes[kCodedBlock];
};

/// The row's input that is packed at `k`.
float input_at(const LinearArguments& a, std::int64_t row, std::int64_t k) {
  return a.x[row * a.x_stride + (a.input_order != nullptr ? a.input_order[k] : k)];
}

RoundedBlock round_block(const LinearArguments& a, std::int64_t row, std::int64_t first) {
  RoundedBlock block{};
  const std::int64_t count = std::min(kCodedBlock, a.inputs - first);
  float x[kCodedBlock];
  for (std::int64_t i = 0; i < count; ++i) x[i] = input_at(a, row, first + i);
  float largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(x[i])) {
      block.scale = NAN;
      return block;
    }
    largest = std::max(largest, std::fabs(x[i]));
  }
  if (largest < 1e-30f) return block;
  block.scale = largest / 127.0f;
  const float factor = 127.0f / largest;
  for (std::int64_t i = 0; i < count; ++i)
    block.codes[i] = static_cast<std::int32_t>(std::nearbyint(x[i] * factor));
  return block;
}

/// One output in mode int8; `x` are the row's blocks.
float coded_sum(const PackedMatrix& weight, const RoundedBlock* x, std::int64_t output) {
  float sum = 0;
  const std::int64_t group = std::min<std::int64_t>(weight.coding->group, kCodedBlock);
  for (std::int64_t first = 0; first < weight.inputs; first += group) {
    const std::int64_t end = std::min(first + group, weight.inputs);
    const RoundedBlock& block = x[first / kCodedBlock];
    std::int32_t exact = 0, total = 0;
    coded_panels::Element e{};
    for (std::int64_t k = first; k < end; ++k) {
      e = coded_panels::element(panels::kScalarLayout.width, weight, output, k);
      exact += e.value * block.codes[k % kCodedBlock];
      total += block.codes[k % kCodedBlock];
    }
    const float scale = e.scale / weight.coding->divisor;
    sum = std::fma(static_cast<float>(exact), scale * block.scale, sum);
    if (weight.coding->minimum)
      sum = std::fma(e.minimum, block.scale * static_cast<float>(total), sum);
  }
  return sum;
}

float plain_sum(const LinearArguments& a, const PackedMatrix& weight, std::int64_t row,
                std::int64_t output) {
  float sum = 0.0f;
  for (std::int64_t k = 0; k < a.inputs; ++k) {
    const float x = input_at(a, row, k);
    const float input = a.math == MathMode::bf16 ? bf16_to_f32(f32_to_bf16(x)) : x;
    sum = std::fma(input, weight_at(weight, output, k), sum);
  }
  return sum;
}

float one_output(const LinearArguments& a, const LinearSegment& segment, const RoundedBlock* x,
                 std::int64_t row, std::int64_t output) {
  float sum = a.math == MathMode::int8
                  ? coded_sum(segment.weight, x + row * coded_blocks(a.inputs), output)
                  : plain_sum(a, segment.weight, row, output);
  if (a.scale != 1.0f) sum *= a.scale;
  if (segment.bias != nullptr) sum += segment.bias[output];
  return activate(segment.activation, sum);
}

}  // namespace

std::size_t linear_scratch(const LinearArguments& a, int) {
  if (a.math != MathMode::int8) return 0;
  return static_cast<std::size_t>(a.rows * coded_blocks(a.inputs)) * sizeof(RoundedBlock);
}

void linear(const Launch& launch, const LinearArguments& a) {
  auto* rounded = static_cast<RoundedBlock*>(launch.scratch);
  if (a.math == MathMode::int8) {
    const std::int64_t blocks = coded_blocks(a.inputs);
    for (std::int64_t i = 0; i < a.rows * blocks; ++i)
      rounded[i] = round_block(a, i / blocks, i % blocks * kCodedBlock);
  }
  for (std::int64_t s = 0; s < a.segment_count; ++s) {
    const LinearSegment& segment = a.segments[s];
    parallel_ranges(launch, segment.weight.outputs, 1 + 4096 / (a.inputs * a.rows + 1),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t row = 0; row < a.rows; ++row)
                        for (std::int64_t o = begin; o < end; ++o)
                          segment.out[row * segment.out_stride + o] =
                              one_output(a, segment, rounded, row, o);
                    });
  }
}

}  // namespace perilune::kernels::scalar
