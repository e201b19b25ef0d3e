// linear: gathers the weights that share an input into one launch. The kernels are in
// linear_{f32,bf16}.cu for few rows and linear_{f32,bf16}_many.cu; the order of sums in
// linear_device.h.
#include "kernels/cuda/linear.h"

#include "kernels/cuda/linear_kernels.h"

namespace perilune::kernels::cuda {

std::size_t linear_scratch(const LinearArguments& a, int) {
  return a.math == MathMode::bf16 ? linear_bf16_scratch(a.rows, a.inputs) : 0;
}

void linear(const Launch& on, const LinearArguments& a) {
  for (std::int64_t first = 0; first < a.segment_count;) {
    Products products{a.x, a.x_stride, a.rows, a.inputs, a.scale, 0, {}};
    const WeightFormat format = a.segments[first].weight.format;
    // Segments of another stored type take a launch of their own.
    for (; first < a.segment_count && products.count < kMostWeights &&
           a.segments[first].weight.format == format;
         ++first) {
      const LinearSegment& segment = a.segments[first];
      const std::int64_t outputs = segment.weight.outputs;
      if (outputs == 0) continue;
      products.list[products.count++] = {
          segment.weight.data,
          segment.bias,
          segment.out,
          segment.out_stride,
          outputs,
          segment.activation,
          segments_of(outputs, a.inputs, a.math == MathMode::bf16 ? kTile : kPanel),
          0};
    }
    if (products.count == 0 || a.rows == 0) continue;
    if (a.math == MathMode::bf16) {
      linear_bf16(on, products);
    } else {
      linear_f32(on, products, format);
    }
  }
}

}  // namespace perilune::kernels::cuda
