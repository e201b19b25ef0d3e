// Stores keys and values in their pages, rounded to the cache's type (nearest, ties to even); keys
// are rotated on the way by the formula of rope, and so are the queries of the same tokens where
// they are given.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/kv_rows.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// Element d of one head's key, rotated where there are angles ([pairs] each).
__device__ __forceinline__ float rotated(const float* k, int d, const float* cosine,
                                         const float* sine, int pairs, bool interleaved) {
  if (d >= 2 * pairs) return k[d];
  const int pair = interleaved ? d / 2 : d % pairs;
  const bool second = interleaved ? (d & 1) != 0 : d >= pairs;
  const int other = interleaved ? d ^ 1 : (second ? d - pairs : d + pairs);
  return second ? k[d] * cosine[pair] + k[other] * sine[pair]
                : k[d] * cosine[pair] - k[other] * sine[pair];
}

template <class T>
__global__ void __launch_bounds__(kThreads) kv_write_kernel(KvWriteArguments a) {
  const auto* rows = static_cast<const DeviceRows*>(a.device_rows);
  const DeviceToken token = token_at(rows, blockIdx.x);
  const std::int64_t at = token.row.first_token + token.index;
  const std::int64_t position = token.row.first_position + token.index;
  const int width = static_cast<int>(a.layout.head_dim);
  const int all = static_cast<int>(a.layout.kv_heads) * width;
  const int pairs = a.cosine == nullptr ? 0 : static_cast<int>(a.pairs);
  const float* cosine = a.cosine + at * pairs;
  const float* sine = a.sine + at * pairs;
  const float* k = a.k + at * all;
  const float* v = a.v + at * all;
  void* const* pages = in_global(token.row.pages);
  char* page = static_cast<char*>(in_global(pages[position / a.layout.page_tokens]));
  const std::int64_t in_page = position % a.layout.page_tokens;
  T* keys = reinterpret_cast<T*>(page + a.page_offset) + in_page / kKvBlock * all * kKvBlock;
  T* values = keys + a.layout.page_tokens * all;
  const int slot = static_cast<int>(in_page % kKvBlock);
  constexpr int kBlock = static_cast<int>(kKvBlock);
  for (int i = static_cast<int>(threadIdx.x); i < all; i += kThreads) {
    const int head = i / width * width, d = i % width;  // head: its first element
    const float key = rotated(k + head, d, cosine, sine, pairs, a.interleaved);
    keys[i * kBlock + slot] = Rounded<T>::of(key);
    values[head * kBlock + slot * width + d] = Rounded<T>::of(v[i]);
  }
  if (a.q == nullptr) return;
  const int queries = static_cast<int>(a.heads) * width;
  for (int i = static_cast<int>(threadIdx.x); i < queries; i += kThreads) {
    const float* head = a.q + at * queries + i / width * width;
    a.q_out[at * queries + i] = rotated(head, i % width, cosine, sine, pairs, a.interleaved);
  }
}

}  // namespace

void kv_write(const Launch& on, const KvWriteArguments& a) {
  std::int64_t tokens = 0;
  for (std::int64_t r = 0; r < a.row_count; ++r) tokens += a.rows[r].tokens;
  // A block a token: its position is looked up once.
  const LaunchConfig config = {dim3(static_cast<unsigned>(tokens)), dim3(kThreads)};
  switch (a.layout.dtype) {
    case DType::f16: return launch(on, "kv_write", config, kv_write_kernel<f16>, a);
    case DType::bf16: return launch(on, "kv_write", config, kv_write_kernel<bf16>, a);
    default: return launch(on, "kv_write", config, kv_write_kernel<float>, a);
  }
}

}  // namespace perilune::kernels::cuda
