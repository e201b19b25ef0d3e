// Weights of the product tests.
#pragma once

#include "tests/kernels/kernel_test.h"

namespace kernel_test {

/// A weight [outputs, inputs] in a disk format, its values, and its packed form for one table.
struct Weight {
  std::int64_t outputs, inputs;
  std::vector<float> values;  // as stored
  Buffer packed;
  PackedMatrix matrix;
};

inline std::vector<std::uint16_t> to_halves(const std::vector<float>& values, WeightFormat format) {
  std::vector<std::uint16_t> halves;
  for (const float x : values)
    halves.push_back(format == WeightFormat::f16 ? f32_to_f16(x) : f32_to_bf16(x));
  return halves;
}

inline Weight make_weight(const KernelTable& table, std::int64_t outputs, std::int64_t inputs,
                          WeightFormat format, MathMode math, std::uint64_t seed,
                          bool transposed = false) {
  std::vector<float> values = Random(seed).values(outputs * inputs, 0.5f);
  const std::vector<std::uint16_t> halves = to_halves(values, format);
  if (format != WeightFormat::f32)
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = format == WeightFormat::f16 ? f16_to_f32(halves[i]) : bf16_to_f32(halves[i]);
  PackArguments pack = {};
  pack.source = values.data();
  if (format != WeightFormat::f32) pack.source = halves.data();
  pack.source_format = format;
  pack.output_stride = transposed ? 1 : inputs;
  pack.input_stride = transposed ? outputs : 1;
  pack.outputs = outputs;
  pack.inputs = inputs;
  pack.math = math;
  Weight weight = {
      outputs, inputs, {}, Buffer(table.packed_bytes(format, outputs, inputs, math)), {}};
  pack.destination = weight.packed.data();
  table.pack(launch_of(2), pack);
  weight.matrix = {
      weight.packed.data(), nullptr, outputs, inputs, table.packed_format(format, math), math};
  weight.values.resize(values.size());
  for (std::int64_t o = 0; o < outputs; ++o)
    for (std::int64_t k = 0; k < inputs; ++k)
      weight.values[static_cast<std::size_t>(o * inputs + k)] =
          values[static_cast<std::size_t>(transposed ? k * outputs + o : o * inputs + k)];
  return weight;
}

}  // namespace kernel_test
