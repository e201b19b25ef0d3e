// Rotary embedding (Su et al. 2021, arXiv:2104.09864). A pair (x, y) becomes
// (x cos - y sin, y cos + x sin), products and sums rounded one by one as in the scalar reference.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) rope_table_kernel(RopeTableArguments a) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= a.rows * a.pairs) return;
  const std::int64_t row = at / a.pairs;
  const std::int64_t variant = a.frequency_row == nullptr ? 0 : a.frequency_row[row];
  const float frequency = a.inverse_frequencies[variant * a.pairs + at % a.pairs];
  const float angle = static_cast<float>(a.positions[row]) * frequency;
  a.cosine[at] = cosf(angle) * a.attention_scale;
  a.sine[at] = sinf(angle) * a.attention_scale;
}

/// One row: of every head `pairs` pairs and the elements behind them. Both elements of a pair are
/// one thread's, so that out may be x.
__global__ void __launch_bounds__(kThreads) rope_kernel(RopeArguments a) {
  const std::int64_t row = blockIdx.x;
  const int width = static_cast<int>(a.head_dim), pairs = static_cast<int>(a.pairs);
  const int items = width - pairs, all = static_cast<int>(a.heads) * items;
  const int apart = a.interleaved ? 1 : pairs, step = a.interleaved ? 2 : 1;
  for (int i = static_cast<int>(threadIdx.x); i < all; i += kThreads) {
    const int item = i % items;
    const std::int64_t head = (row * a.heads + i / items) * width;
    if (item >= pairs) {
      a.out[head + pairs + item] = a.x[head + pairs + item];
      continue;
    }
    const float cosine = a.cosine[row * pairs + item], sine = a.sine[row * pairs + item];
    const float first = a.x[head + item * step], second = a.x[head + item * step + apart];
    a.out[head + item * step] = first * cosine - second * sine;
    a.out[head + item * step + apart] = second * cosine + first * sine;
  }
}

}  // namespace

void rope_table(const Launch& on, const RopeTableArguments& a) {
  // A thread an angle.
  const std::int64_t blocks = (a.rows * a.pairs + kThreads - 1) / kThreads;
  launch(on, "rope_table", {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, rope_table_kernel,
         a);
}

void rope(const Launch& on, const RopeArguments& a) {
  if (a.heads == 0 || a.head_dim == 0) return;
  // A block a row: its heads share the angles.
  launch(on, "rope", {dim3(static_cast<unsigned>(a.rows)), dim3(kThreads)}, rope_kernel, a);
}

}  // namespace perilune::kernels::cuda
