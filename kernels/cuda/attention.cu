// Attention's entry: sequences with few new tokens spread their keys over blocks, the others share
// keys among a tile of queries. Both sum in one order (attention_device.h).
#include "kernels/cuda/attention.h"

#include "kernels/cuda/attention_kernels.h"

namespace perilune::kernels::cuda {

AttentionProblem problem_of(const AttentionArguments& a) {
  constexpr std::int64_t kFar = std::int64_t{1} << 30;  // beyond every position
  AttentionProblem p = {};
  p.rows = static_cast<const DeviceRows*>(a.device_rows);
  p.q = a.q;
  p.out = a.out;
  p.page_offset = a.page_offset;
  p.heads = static_cast<int>(a.heads);
  p.kv_heads = static_cast<int>(a.layout.kv_heads);
  p.group = p.heads / p.kv_heads;
  p.head_dim = static_cast<int>(a.layout.head_dim);
  p.page_tokens = static_cast<int>(a.layout.page_tokens);
  p.causal = a.mask == Mask::causal ? 1 : 0;
  p.window = static_cast<int>(a.window < kFar ? a.window : kFar);
  p.scale = a.scale;
  p.softcap = a.softcap;
  p.bias = a.relative_bias;
  p.bias_first = a.relative_first;
  p.bias_count = a.relative_count;
  return p;
}

std::size_t attention_scratch(const AttentionArguments& a, int) {
  return few_attention_scratch(a);
}

void attention(const Launch& on, const AttentionArguments& a) {
  few_attention(on, a);
  tile_attention(on, a);
}

}  // namespace perilune::kernels::cuda
