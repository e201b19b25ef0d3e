// The table of one tier. Included last by each tier_*.cpp, after its vec_*.h.
#pragma once

#include <type_traits>

#include "kernels/cpu/coded_panels.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/scalar.h"
#include "kernels/cpu/tiers.h"
//
#include "kernels/cpu/fast_math.h"
//
#include "kernels/cpu/fast_linear.h"
//
#include "kernels/cpu/fast_linear_int8.h"
//
#include "kernels/cpu/fast_attention.h"
//
#include "kernels/cpu/fast_attention_work.h"
#include "kernels/cpu/fast_kv_write.h"
#include "kernels/cpu/fast_matmul.h"
#include "kernels/cpu/fast_rows.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

inline constexpr panels::Layout kLayout = {kPanelWidth, kBf16Dot};

[[maybe_unused]] std::size_t packed_bytes(WeightFormat source, std::int64_t outputs,
                                          std::int64_t inputs, MathMode math) {
  return panels::packed_bytes(kLayout, source, outputs, inputs, math);
}
[[maybe_unused]] void pack(const Launch& launch, const PackArguments& arguments) {
  panels::pack(launch, kLayout, arguments);
}
[[maybe_unused]] std::size_t coded_bytes(const Coding& coding, std::int64_t outputs,
                                         std::int64_t inputs) {
  return coded_panels::packed_bytes(kPanelWidth, coding, outputs, inputs);
}
[[maybe_unused]] void pack_coded(const Launch& launch, const PackCodedArguments& arguments) {
  coded_panels::pack(launch, kPanelWidth, arguments);
}
[[maybe_unused]] void unpack_rows(const Launch& launch, const PackedMatrix& matrix,
                                  const std::int64_t* rows, std::int64_t count, float* out) {
  panels::unpack_rows(launch, kLayout, matrix, rows, count, out);
}
[[maybe_unused]] void embedding(const Launch& launch, const EmbeddingArguments& arguments) {
  panels::embedding(launch, kLayout, arguments);
}

/// What has no faster form here is the shared one.
constexpr KernelTable make_table(const char* tier) {
  return {
      .tier = tier,
      .fast_bf16 = kBf16Dot,
      .exact_f32_fma = kFused,
      .most_head_dim = 0,
      .packed_bytes = packed_bytes,
      .packed_format = panels::packed_format,
      .pack = pack,
      .coded_bytes = coded_bytes,
      .pack_coded = pack_coded,
      .unpack_rows = unpack_rows,
      .linear_scratch = linear_scratch,
      .linear = linear,
      .embedding = embedding,
      .rms_norm = rms_norm,
      .layer_norm = layer_norm,
      .rope_table = scalar::rope_table,
      .rope = rope,
      .kv_write = kv_write,
      .attention_scratch = attention_scratch,
      .attention = attention,
      .attention_weights = scalar::attention_weights,
      .unary = unary,
      .binary = scalar::binary,
      .where = scalar::where,
      .copy = scalar::copy,
      .reduce = scalar::reduce,
      .softmax = softmax,
      .cumulative_sum = scalar::cumulative_sum,
      .top = scalar::top,
      .gather_rows = scalar::gather_rows,
      .gated = gated,
      .matmul = matmul,
  };
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
