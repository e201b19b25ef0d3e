// The softmax of attention itself, for tracing: weights[token, head, key] over all visible keys at
// once, zero elsewhere. The sum goes over each thread's keys ascending, then over the threads by a
// tree: an order of the keys' positions alone.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_kernels.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp;

template <class T>
__device__ __forceinline__ float dot(const AttentionProblem& p, const DeviceRow& row,
                                     const float* q, int kv_head, int key) {
  const KvBlock<T> block = kv_block<T>(p, row.pages, kv_head, key);
  const T* keys = block.keys + key % kBlockKeys;
  float sum = 0;
  for (int d = 0; d < p.head_dim; ++d) sum = fmaf(q[d], to_float(keys[d * kBlockKeys]), sum);
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    attention_weights_kernel(AttentionProblem p, float* weights, std::int64_t keys) {
  const auto heads = static_cast<unsigned>(p.heads);
  const DeviceToken token = token_at(p.rows, blockIdx.x / heads);
  const int head = static_cast<int>(blockIdx.x % heads), kv_head = head / p.group;
  const int position = static_cast<int>(token.row.first_position + token.index);
  const std::int64_t at = (token.row.first_token + token.index) * p.heads + head;
  const float* q = p.q + at * p.head_dim;
  float* out = weights + at * keys;
  VisibleKeys visible = visible_keys(p, static_cast<int>(token.row.key_count), position);
  if (visible.end > keys) visible.end = static_cast<int>(keys);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;

  SharedArena arena;
  auto maxima = arena.take<float>(kWarps);
  auto sums = arena.take<float>(kWarps);
  float maximum = nothing();
  for (std::int64_t j = thread; j < keys; j += kThreads) {
    const int key = static_cast<int>(j);
    const bool sees = key >= visible.begin && key < visible.end;
    out[j] = sees ? score_of(p, dot<T>(p, token.row, q, kv_head, key), head, key, position) : 0.0f;
    if (sees) maximum = fmaxf(maximum, out[j]);
  }
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2)
    maximum = fmaxf(maximum, __shfl_xor_sync(kFullMask, maximum, apart));
  if (lane == 0) maxima[warp] = maximum;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < kWarps; ++w) maximum = fmaxf(maximum, maxima[w]);

  float total = 0;
  for (std::int64_t j = thread; j < keys; j += kThreads) {
    if (j < visible.begin || j >= visible.end) continue;
    out[j] = maximum == nothing() ? 0.0f : expf(out[j] - maximum);
    total += out[j];
  }
  total = block_sum<kWarp>(total);
  if (lane == 0) sums[warp] = total;
  __syncthreads();
  total = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) total += sums[w];
  for (std::int64_t j = thread; j < keys; j += kThreads)
    if (j >= visible.begin && j < visible.end && total != 0) out[j] /= total;
}

template <class T>
void run(const Launch& on, const AttentionWeightsArguments& w, std::int64_t tokens) {
  const AttentionProblem p = problem_of(w.attention);
  // A block a token and head.
  launch(on, "attention_weights",
         {dim3(static_cast<unsigned>(tokens * p.heads)), dim3(kThreads),
          2 * shared_bytes<float>(kWarps)},
         attention_weights_kernel<T>, p, w.weights, w.keys);
}

}  // namespace

void attention_weights(const Launch& on, const AttentionWeightsArguments& w) {
  std::int64_t tokens = 0;
  for (std::int64_t r = 0; r < w.attention.row_count; ++r) tokens += w.attention.rows[r].tokens;
  switch (w.attention.layout.dtype) {
    case DType::f16: return run<f16>(on, w, tokens);
    case DType::bf16: return run<bf16>(on, w, tokens);
    default: return run<float>(on, w, tokens);
  }
}

}  // namespace perilune::kernels::cuda
