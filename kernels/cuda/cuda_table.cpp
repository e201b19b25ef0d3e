#include "kernels/cuda/cuda_table.h"

#include <map>
#include <mutex>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/rows.h"

namespace perilune::kernels::cuda {
namespace {

KernelTable make(const char* tier, bool fast_bf16) {
  return {
      .tier = tier,
      .fast_bf16 = fast_bf16,
      .exact_f32_fma = false,  // sums are cut into segments
      .most_head_dim = kMostHeadDim,
      .turns_queries = true,
      .fuses_products = true,
      .packed_bytes = packed_bytes,
      .packed_format = packed_format,
      .pack = pack,
      .unpack_rows = unpack_rows,
      .linear_scratch = linear_scratch,
      .linear = linear,
      .embedding = embedding,
      .rms_norm = rms_norm,
      .layer_norm = layer_norm,
      .rope_table = rope_table,
      .rope = rope,
      .kv_rows_bytes = kv_rows_bytes,
      .kv_rows_stage = kv_rows_stage,
      .kv_write = kv_write,
      .attention_scratch = attention_scratch,
      .attention = attention,
      .attention_weights = attention_weights,
      .unary = unary,
      .binary = binary,
      .where = where,
      .copy = copy,
      .reduce = reduce,
      .softmax = softmax,
      .cumulative_sum = cumulative_sum,
      .top = top,
      .gather_rows = gather_rows,
      .gated = gated,
      .matmul = matmul,
      .choose = choose,
  };
}

}  // namespace

// The kernels are the same for all; a device's own name for itself is kept beside them.
const KernelTable& table(const char* tier) {
  static std::mutex mutex;
  // Never destroyed: a device may be closed when statics no longer live.
  static auto& tables = *new std::map<std::string, KernelTable>;
  const std::lock_guard lock(mutex);
  const auto known = tables.find(tier);
  if (known != tables.end()) return known->second;
  const auto place = tables.emplace(tier, KernelTable{}).first;
  place->second = make(place->first.c_str(), place->first != "emulator");
  return place->second;
}

}  // namespace perilune::kernels::cuda
