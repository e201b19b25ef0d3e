// linear: gathers the weights that share an input into one launch, and does what else was asked for
// where their kernel does not. The kernels are in
// linear_{f32,bf16}.cu for few rows and linear_{f32,bf16}_many.cu; the order of sums in
// linear_device.h.
#include "kernels/cuda/linear.h"

#include "kernels/cuda/linear_kernels.h"
#include "kernels/cuda/rows.h"

namespace perilune::kernels::cuda {

namespace {

/// How what LinearFusion asks for is done: by the products' own kernels, or by others around them,
/// with the same bits.
struct Course {
  bool norm_first, gate_after;
  std::size_t normed_bytes, gate_bytes;  // of scratch: x normed, and each of two results
};

std::size_t scratch_piece(std::int64_t floats) {
  return (static_cast<std::size_t>(floats) * sizeof(float) + 63) / 64 * 64;
}

Course course_of(const LinearArguments& a) {
  const LinearFusion& fusion = a.fusion;
  const bool halves = a.math == MathMode::bf16;
  Course course = {};
  course.norm_first =
      fusion.norm && (fusion.squares_of_x == nullptr || !halves || a.rows > kSquaresRows);
  course.gate_after = fusion.gated && (!halves || a.rows > kGatedRows);
  if (course.norm_first) course.normed_bytes = scratch_piece(a.rows * a.inputs);
  if (course.gate_after) course.gate_bytes = scratch_piece(a.rows * a.segments[0].weight.outputs);
  return course;
}

void run_products(const Launch& on, const LinearArguments& a, bool gated, bool normed) {
  const LinearFusion& fusion = a.fusion;
  for (std::int64_t first = 0; first < a.segment_count;) {
    Products products{};
    products.x = a.x;
    products.x_stride = a.x_stride;
    products.rows = a.rows;
    products.inputs = a.inputs;
    products.scale = a.scale;
    products.norm_weight = fusion.norm_weight;
    products.norm_offset = fusion.norm_offset;
    products.norm_epsilon = fusion.norm_epsilon;
    products.squares_of_x = normed ? fusion.squares_of_x : nullptr;
    products.squares = fusion.squares;
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
          fusion.residual,
          segment.out,
          segment.out_stride,
          outputs,
          segment.activation,
          segments_of(outputs, a.inputs, a.math == MathMode::bf16 ? kTile : kPanel),
          0};
    }
    if (products.count == 0 || a.rows == 0) continue;
    if (a.math == MathMode::bf16) {
      linear_bf16(on, products, gated);
    } else {
      linear_f32(on, products, format);
    }
  }
}

}  // namespace

std::size_t linear_scratch(const LinearArguments& a, int) {
  const Course course = course_of(a);
  const std::size_t own = a.math == MathMode::bf16 ? linear_bf16_scratch(a.rows, a.inputs) : 0;
  return course.normed_bytes + 2 * course.gate_bytes + own;
}

void linear(const Launch& on, const LinearArguments& a) {
  if (a.rows == 0) return;
  const Course course = course_of(a);
  const LinearFusion& fusion = a.fusion;
  LinearArguments plain = a;
  Launch own = on;
  const auto take = [&](std::size_t bytes) {
    auto* const piece = static_cast<char*>(own.scratch);
    own.scratch = piece + bytes;
    return reinterpret_cast<float*>(piece);
  };
  if (course.norm_first) {
    float* const x = take(course.normed_bytes);
    rms_norm(on, {x, a.x, a.inputs, a.x_stride, a.rows, a.inputs, fusion.norm_weight, nullptr,
                  fusion.norm_offset, fusion.norm_epsilon, nullptr, nullptr});
    plain.x = x;
    plain.x_stride = a.inputs;
  }
  const bool normed = fusion.norm && !course.norm_first;
  if (!course.gate_after) return run_products(own, plain, fusion.gated, normed);
  LinearSegment both[2] = {a.segments[0], a.segments[1]};
  const Activation activation = both[0].activation;
  both[0].activation = Activation::none;
  for (LinearSegment& segment : both) {
    segment.out = take(course.gate_bytes);
    segment.out_stride = segment.weight.outputs;
  }
  plain.segments = both;
  run_products(own, plain, false, normed);
  gated(on, {a.segments[0].out, both[0].out, both[1].out, a.rows * both[0].out_stride, activation});
}

}  // namespace perilune::kernels::cuda
