// matmul for tensors of scripts: out[b, m, n] = sum over k ascending of a[b, m, k] * c[b, n, k],
// one chain of products and sums from 0, each rounded (a CPU fuses them where it can), any element
// strides.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/packed.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kSide = 16;  // of a block's square of outputs, and inputs that it holds at once
constexpr int kThreads = kSide * kSide;

/// Fills tile[line][k] with lines and inputs from `line` and `k` on, zeros beyond. Neighbouring
/// threads read along whichever axis is contiguous.
__device__ __forceinline__ void load_tile(shared_array<float> tile, const float* from,
                                          std::int64_t line, std::int64_t lines,
                                          std::int64_t line_stride, std::int64_t k,
                                          std::int64_t inputs, std::int64_t input_stride) {
  const int me = static_cast<int>(threadIdx.x);
  const bool along_lines = line_stride == 1;
  const int l = along_lines ? me % kSide : me / kSide, i = along_lines ? me / kSide : me % kSide;
  const bool there = line + l < lines && k + i < inputs;
  tile[l * (kSide + 1) + i] =
      there ? from[(line + l) * line_stride + (k + i) * input_stride] : 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    multiply(MatmulArguments a, std::int64_t m_tiles, std::int64_t n_tiles) {
  SharedArena arena;
  auto left = arena.take<float>(kSide * (kSide + 1));
  auto right = arena.take<float>(kSide * (kSide + 1));
  const std::int64_t block = blockIdx.x, batch = block / n_tiles / m_tiles;
  const std::int64_t n = block % n_tiles * kSide, m = block / n_tiles % m_tiles * kSide;
  const int me = static_cast<int>(threadIdx.x), column = me % kSide, line = me / kSide;
  float sum = 0.0f;
  for (std::int64_t k = 0; k < a.k; k += kSide) {
    __syncthreads();
    load_tile(left, a.a + batch * a.a_batch, m, a.m, a.a_m, k, a.k, a.a_k);
    load_tile(right, a.b + batch * a.b_batch, n, a.n, a.b_n, k, a.k, a.b_k);
    __syncthreads();
    const int depth = a.k - k < kSide ? static_cast<int>(a.k - k) : kSide;
    for (int i = 0; i < depth; ++i) {
      sum += left[line * (kSide + 1) + i] * right[column * (kSide + 1) + i];
    }
  }
  if (m + line < a.m && n + column < a.n) {
    a.out[batch * a.out_batch + (m + line) * a.out_m + n + column] = sum;
  }
}

}  // namespace

// A thread an output, 16 x 16 a block: what is read serves sixteen of them. Models do not come
// here. One axis of blocks, since the others end at 65535.
void matmul(const Launch& on, const MatmulArguments& a) {
  const std::int64_t m_tiles = ceil_div(a.m, kSide), n_tiles = ceil_div(a.n, kSide);
  launch(on, "matmul",
         {dim3(static_cast<unsigned>(a.batches * m_tiles * n_tiles)), kThreads,
          2 * shared_bytes<float>(kSide * (kSide + 1))},
         multiply, a, m_tiles, n_tiles);
}

}  // namespace perilune::kernels::cuda
