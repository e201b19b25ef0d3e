// rms_norm:   y = x + residual (where given, stored to `sum`); widths that rms_norm.cu leaves
//             out = y / sqrt(mean(y^2) + epsilon) * (weight + offset)
// layer_norm: out = (y - mean(y)) / sqrt(mean((y - mean)^2) + epsilon) * weight + bias
//
// Everything in f32. A row's threads take four adjacent elements at a time, a group's length apart,
// and sum them one after another; the groups' sums go through RowGroup's tree. The variance is
// summed in a second pass over the deviations. The number of threads follows from the width.
//
// A thread keeps its first kHeld fours in registers, so that rows up to 16384 elements are read
// once; what is beyond is read again for each pass. Bound by memory (many rows) or by the latency
// of one load, one tree and one store (few rows).
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/four.h"
#include "kernels/cuda/row_group.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/squares.h"
#include "kernels/cuda/strided.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kHeld = 4;

struct NormJob {
  NormArguments a;
  bool vector;  // addresses and strides allow loads of 16 bytes
};

/// One row, as this thread sees it.
struct Row {
  const NormJob& job;
  RowGroup group;
  const float* x;
  const float* residual;
  float* sum;
  float* out;

  __device__ __forceinline__ Row(const NormJob& given, std::int64_t row)
      : job(given),
        x(given.a.x + row * given.a.x_stride),
        residual(given.a.residual == nullptr ? nullptr : given.a.residual + row * given.a.x_stride),
        sum(given.a.residual == nullptr ? nullptr : given.a.sum + row * given.a.x_stride),
        out(given.a.out + row * given.a.out_stride) {}

  /// Where the thread's `turn`-th four begins.
  __device__ __forceinline__ std::int64_t at(std::int64_t turn) const {
    return (turn * group.threads + group.place) * kFour;
  }
  /// The four, with the residual added and stored.
  __device__ __forceinline__ Four first(std::int64_t turn) const {
    const std::int64_t from = at(turn), width = job.a.width;
    Four four = load_four(x, from, width, job.vector, 0.0f);
    if (residual == nullptr) return four;
    const Four more = load_four(residual, from, width, job.vector, 0.0f);
#pragma unroll
    for (int i = 0; i < kFour; ++i) four.value[i] += more.value[i];
    store_four(sum, from, width, job.vector, four);
    return four;
  }
  /// The same four later: what first() stored, or x.
  __device__ __forceinline__ Four again(std::int64_t turn) const {
    return load_four(residual == nullptr ? x : sum, at(turn), job.a.width, job.vector, 0.0f);
  }
};

__device__ __forceinline__ float plus_values(float total, const Four& four) {
#pragma unroll
  for (int i = 0; i < kFour; ++i) total += four.value[i];
  return total;
}
/// The elements past the row's end are no deviations.
__device__ __forceinline__ float plus_deviations(float total, const Four& four, float mean,
                                                 std::int64_t left) {
#pragma unroll
  for (int i = 0; i < kFour; ++i) {
    const float deviation = i < left ? four.value[i] - mean : 0.0f;
    total = fmaf(deviation, deviation, total);
  }
  return total;
}

template <bool kLayer>
__device__ __forceinline__ void finish(const Row& row, std::int64_t turn, Four four, float mean,
                                       float inverse) {
  const NormArguments& a = row.job.a;
  const std::int64_t at = row.at(turn);
  Four weight = {{1.0f, 1.0f, 1.0f, 1.0f}}, bias = {};
  if (a.weight != nullptr) weight = load_four(a.weight, at, a.width, row.job.vector, 0.0f);
  if (kLayer && a.bias != nullptr) bias = load_four(a.bias, at, a.width, row.job.vector, 0.0f);
#pragma unroll
  for (int i = 0; i < kFour; ++i) {
    if (kLayer)
      four.value[i] = (four.value[i] - mean) * inverse * weight.value[i] + bias.value[i];
    else
      four.value[i] = four.value[i] * inverse * (weight.value[i] + a.offset);
  }
  store_four(row.out, at, a.width, row.job.vector, four);
}

template <bool kLayer>
__global__ void __launch_bounds__(kRowThreads) norm_kernel(NormJob job) {
  SharedArena arena;
  auto sum_slots = arena.take<float>(kWarp);
  auto variance_slots = arena.take<float>(kWarp);
  const std::int64_t row_index = this_row(), width = job.a.width;
  if (row_index >= job.a.rows) return;  // a whole warp, and nothing waits for it
  const Row row(job, row_index);

  Four held[kHeld];
  float total = 0.0f;
#pragma unroll
  for (int turn = 0; turn < kHeld; ++turn) {
    held[turn] = row.at(turn) < width ? row.first(turn) : Four{};
    total = kLayer ? plus_values(total, held[turn]) : plus_squares(total, held[turn].value);
  }
  for (std::int64_t turn = kHeld; row.at(turn) < width; ++turn) {
    const Four four = row.first(turn);
    total = kLayer ? plus_values(total, four) : plus_squares(total, four.value);
  }
  total = row.group.combine(total, 0.0f, sum_slots, Add{});

  float mean = 0.0f;
  if (kLayer) {
    mean = total / static_cast<float>(width);
    total = 0.0f;
#pragma unroll
    for (int turn = 0; turn < kHeld; ++turn)
      total = plus_deviations(total, held[turn], mean, width - row.at(turn));
    for (std::int64_t turn = kHeld; row.at(turn) < width; ++turn)
      total = plus_deviations(total, row.again(turn), mean, width - row.at(turn));
    total = row.group.combine(total, 0.0f, variance_slots, Add{});
  }
  const float inverse = 1.0f / sqrtf(total / static_cast<float>(width) + job.a.epsilon);
#pragma unroll
  for (int turn = 0; turn < kHeld; ++turn)
    if (row.at(turn) < width) finish<kLayer>(row, turn, held[turn], mean, inverse);
  for (std::int64_t turn = kHeld; row.at(turn) < width; ++turn)
    finish<kLayer>(row, turn, row.again(turn), mean, inverse);
}

// A thread for every kHeld fours: fewer would read the row twice, more would only wait longer.
template <bool kLayer>
void norm(const Launch& on, const char* name, const NormArguments& a) {
  if (a.width == 0) return;
  const NormJob job = {a, a.x_stride % kFour == 0 && a.out_stride % kFour == 0 &&
                              are_aligned(16, a.x, a.out, a.weight, a.bias, a.residual, a.sum)};
  LaunchConfig config = row_blocks(a.rows, a.width, kHeld * kFour);
  config.shared_bytes = 2 * shared_bytes<float>(kWarp);
  launch(on, name, config, norm_kernel<kLayer>, job);
}

}  // namespace

void other_rms_norm(const Launch& on, const NormArguments& arguments) {
  norm<false>(on, "rms_norm", arguments);
}

void layer_norm(const Launch& on, const NormArguments& arguments) {
  norm<true>(on, "layer_norm", arguments);
}

}  // namespace perilune::kernels::cuda
