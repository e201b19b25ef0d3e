#include "kernels/cpu/coded_panels.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/scalar.h"

namespace perilune::kernels::scalar {
namespace {

std::size_t packed_bytes(WeightFormat source, std::int64_t outputs, std::int64_t inputs,
                         MathMode math) {
  return panels::packed_bytes(panels::kScalarLayout, source, outputs, inputs, math);
}
void pack(const Launch& launch, const PackArguments& arguments) {
  panels::pack(launch, panels::kScalarLayout, arguments);
}
std::size_t coded_bytes(const Coding& coding, std::int64_t outputs, std::int64_t inputs) {
  return coded_panels::packed_bytes(panels::kScalarLayout.width, coding, outputs, inputs);
}
void pack_coded(const Launch& launch, const PackCodedArguments& arguments) {
  coded_panels::pack(launch, panels::kScalarLayout.width, arguments);
}
void unpack_rows(const Launch& launch, const PackedMatrix& matrix, const std::int64_t* rows,
                 std::int64_t count, float* out) {
  panels::unpack_rows(launch, panels::kScalarLayout, matrix, rows, count, out);
}
void embedding(const Launch& launch, const EmbeddingArguments& arguments) {
  panels::embedding(launch, panels::kScalarLayout, arguments);
}

}  // namespace

const KernelTable& table() {
  static constexpr KernelTable kTable = {
      .tier = "scalar",
      .fast_bf16 = false,
      .exact_f32_fma = true,
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
      .rope_table = rope_table,
      .rope = rope,
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
  };
  return kTable;
}

}  // namespace perilune::kernels::scalar
