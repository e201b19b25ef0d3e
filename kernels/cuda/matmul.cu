// matmul for tensors of scripts: out[b, m, n] = sum over k ascending of a[b, m, k] * c[b, n, k],
// one fmaf chain from 0, any element strides.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/packed.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) multiply(MatmulArguments a) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= a.batches * a.m * a.n) return;
  const std::int64_t n = index % a.n, m = index / a.n % a.m, batch = index / a.n / a.m;
  const float* left = a.a + batch * a.a_batch + m * a.a_m;
  const float* right = a.b + batch * a.b_batch + n * a.b_n;
  float sum = 0.0f;
  for (std::int64_t k = 0; k < a.k; ++k) sum = fmaf(left[k * a.a_k], right[k * a.b_k], sum);
  a.out[batch * a.out_batch + m * a.out_m + n] = sum;
}

}  // namespace

// A thread an output: strides are anyone's, and models do not come here.
void matmul(const Launch& on, const MatmulArguments& a) {
  const std::int64_t count = a.batches * a.m * a.n;
  launch(on, "matmul", {static_cast<unsigned>(ceil_div(count, kThreads)), kThreads}, multiply, a);
}

}  // namespace perilune::kernels::cuda
