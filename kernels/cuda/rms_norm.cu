// rms_norm: y = x + residual (where given, stored to `sum`)
//           out = y / sqrt(mean(y^2) + epsilon) * (weight + offset)
//
// Rows whose squares a product may have summed (squares.h) are summed in that order here too; the
// others as every norm (norm.cu). A block a row, a thread for every kHeld fours, which it keeps in
// registers: bound by memory (many rows) or by the latency of one load, one tree and one store.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/four.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/squares.h"
#include "kernels/cuda/strided.h"
#include "kernels/squared_width.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kHeld = 4;
constexpr int kThreads = 1024;  // at most
static_assert(kThreads * kHeld * kFour == kMostSquared);

struct PiecesJob {
  NormArguments a;
  bool vector;  // addresses and strides allow loads of 16 bytes
};

__global__ void __launch_bounds__(kThreads) rms_norm_kernel(PiecesJob job) {
  const NormArguments& a = job.a;
  SharedArena arena;
  auto pieces = arena.take<float>(a.width / kSquared);
  const std::int64_t row = blockIdx.x;
  const float* x = a.x + row * a.x_stride;
  Four held[kHeld];
#pragma unroll
  for (int turn = 0; turn < kHeld; ++turn) {
    const std::int64_t at = (static_cast<std::int64_t>(turn) * blockDim.x + threadIdx.x) * kFour;
    held[turn] = load_four(x, at, a.width, job.vector, 0.0f);
    if (a.residual != nullptr) {
      const Four more = load_four(a.residual + row * a.x_stride, at, a.width, job.vector, 0.0f);
#pragma unroll
      for (int i = 0; i < kFour; ++i) held[turn].value[i] += more.value[i];
      store_four(a.sum + row * a.x_stride, at, a.width, job.vector, held[turn]);
    }
    const float piece = join_piece(plus_squares(0.0f, held[turn].value));
    if (threadIdx.x % kFour == 0 && at < a.width) pieces[at / kSquared] = piece;
  }
  __syncthreads();
  const float inverse =
      inverse_root(pieces, static_cast<int>(a.width / kSquared), static_cast<float>(a.epsilon));
#pragma unroll
  for (int turn = 0; turn < kHeld; ++turn) {
    const std::int64_t at = (static_cast<std::int64_t>(turn) * blockDim.x + threadIdx.x) * kFour;
    if (at >= a.width) continue;
    Four weight = {{1.0f, 1.0f, 1.0f, 1.0f}};
    if (a.weight != nullptr) weight = load_four(a.weight, at, a.width, job.vector, 0.0f);
#pragma unroll
    for (int i = 0; i < kFour; ++i) {
      held[turn].value[i] = normed(held[turn].value[i], inverse, weight.value[i], a.offset);
    }
    store_four(a.out + row * a.out_stride, at, a.width, job.vector, held[turn]);
  }
}

}  // namespace

void rms_norm(const Launch& on, const NormArguments& a) {
  if (!sums_squares_by_pieces(a.width)) return other_rms_norm(on, a);
  constexpr std::int64_t kEach = kHeld * kFour * kWarp;
  const PiecesJob job = {a, a.x_stride % kFour == 0 && a.out_stride % kFour == 0 &&
                                are_aligned(16, a.x, a.out, a.weight, a.residual, a.sum)};
  launch(on, "rms_norm",
         {dim3(static_cast<unsigned>(a.rows)),
          dim3(static_cast<unsigned>((a.width + kEach - 1) / kEach * kWarp)),
          shared_bytes<float>(a.width / kSquared)},
         rms_norm_kernel, job);
}

}  // namespace perilune::kernels::cuda
