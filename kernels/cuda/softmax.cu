// softmax:     out = exp(x - m) / sum exp(x - m), m the row's largest
// log-softmax: out = x - m - log(sum exp(x - m))
// A row of -inf only gives zeros (-inf for the logarithm); a NaN in it stays where it is. Otherwise
// a NaN, or +inf, makes the row NaN, as in the scalar reference.
//
// A row's threads take every threads-th element, sum ascending, and combine by RowGroup's tree.
// Three passes over the row: it comes from memory once and from a cache twice.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/row_group.h"
#include "kernels/cuda/rows.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kEach = 8;  // elements a thread, up to the largest block

struct Larger {
  __device__ __forceinline__ float operator()(float a, float b) const { return b > a ? b : a; }
};

__global__ void __launch_bounds__(kRowThreads) softmax_kernel(SoftmaxArguments a) {
  SharedArena arena;
  auto maximum_slots = arena.take<float>(kWarp);
  auto sum_slots = arena.take<float>(kWarp);
  const std::int64_t row = this_row();
  if (row >= a.rows) return;
  const RowGroup group;
  const float* x = a.x + row * a.x_stride;
  float* out = a.out + row * a.out_stride;
  const float lowest = __uint_as_float(0xff800000u);

  float maximum = lowest;
  for (std::int64_t i = group.place; i < a.width; i += group.threads)
    maximum = Larger{}(maximum, x[i]);
  maximum = group.combine(maximum, lowest, maximum_slots, Larger{});
  if (maximum == lowest) {  // the same in all threads of the row
    for (std::int64_t i = group.place; i < a.width; i += group.threads)
      out[i] = x[i] != x[i] ? x[i] : a.logarithm ? lowest : 0.0f;
    return;
  }
  float sum = 0.0f;
  for (std::int64_t i = group.place; i < a.width; i += group.threads) sum += expf(x[i] - maximum);
  sum = group.combine(sum, 0.0f, sum_slots, Add{});
  const float logarithm = logf(sum);
  for (std::int64_t i = group.place; i < a.width; i += group.threads) {
    const float shifted = x[i] - maximum;
    out[i] = a.logarithm ? shifted - logarithm : expf(shifted) / sum;
  }
}

}  // namespace

// Threads by width: short rows are a warp's, the longest take a whole multiprocessor's block.
void softmax(const Launch& on, const SoftmaxArguments& a) {
  if (a.width == 0) return;
  LaunchConfig config = row_blocks(a.rows, a.width, kEach);
  config.shared_bytes = 2 * shared_bytes<float>(kWarp);
  launch(on, "softmax", config, softmax_kernel, a);
}

}  // namespace perilune::kernels::cuda
