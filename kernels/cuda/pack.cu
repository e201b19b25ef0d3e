// pack: a stored matrix, any element strides, into the order of packed.h; and rows of it back.
// Values are copied, or rounded to bf16 where mode bf16 asks for it; nothing is summed.
#include "kernels/cuda/linear.h"
#include "kernels/cuda/packed.h"

namespace perilune::kernels::cuda {
namespace {

constexpr int kThreads = 256;

std::size_t format_bytes(WeightFormat format) {
  return format == WeightFormat::f32 ? 4 : 2;
}

dim3 blocks(std::int64_t elements) {
  return dim3(static_cast<unsigned>(ceil_div(elements, kThreads)));
}

__device__ __forceinline__ float source_value(const PackArguments& a, std::int64_t at) {
  switch (a.source_format) {
    case WeightFormat::f32: return static_cast<const float*>(a.source)[at];
    case WeightFormat::f16: return to_float(static_cast<const f16*>(a.source)[at]);
    case WeightFormat::bf16: return to_float(static_cast<const bf16*>(a.source)[at]);
    case WeightFormat::coded: break;  // widened before they are packed here
  }
  return 0.0f;
}

__global__ void __launch_bounds__(kThreads)
    pack_elements(PackArguments a, WeightFormat target, std::int64_t count) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= count) return;
  const MatrixPlace place = packed_place(a.math, a.inputs, index);
  float value = 0.0f;
  if (place.output < a.outputs && place.input < a.inputs) {
    value = source_value(a, place.output * a.output_stride + place.input * a.input_stride);
  }
  switch (target) {
    case WeightFormat::f32: static_cast<float*>(a.destination)[index] = value; break;
    case WeightFormat::f16: static_cast<f16*>(a.destination)[index] = to_f16(value); break;
    case WeightFormat::bf16: static_cast<bf16*>(a.destination)[index] = to_bf16(value); break;
    case WeightFormat::coded: break;  // widened before they are packed here
  }
}

__global__ void __launch_bounds__(kThreads)
    unpack(PackedMatrix matrix, const std::int64_t* rows, std::int64_t count, float* out) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= count * matrix.inputs) return;
  const std::int64_t row = rows[index / matrix.inputs], input = index % matrix.inputs;
  out[index] = packed_value(matrix, packed_index(matrix.math, matrix.inputs, row, input));
}

// out[r, :] = table[ids[r] + id_offset, :] * scale
__global__ void __launch_bounds__(kThreads) embed(EmbeddingArguments a) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t width = a.table.inputs;
  if (index >= a.rows * width) return;
  const std::int64_t id = a.ids[index / width] + a.id_offset;
  const float value = packed_value(a.table, packed_index(a.table.math, width, id, index % width));
  a.out[index] = a.scale == 1.0f ? value : value * a.scale;
}

}  // namespace

WeightFormat packed_format(WeightFormat source, MathMode math) {
  return math == MathMode::bf16 ? WeightFormat::bf16 : source;
}

std::size_t packed_bytes(WeightFormat source, std::int64_t outputs, std::int64_t inputs,
                         MathMode math) {
  return static_cast<std::size_t>(packed_elements(outputs, inputs, math)) *
         format_bytes(packed_format(source, math));
}

// A thread an element: bound by memory, and run once.
void pack(const Launch& on, const PackArguments& a) {
  const std::int64_t count = packed_elements(a.outputs, a.inputs, a.math);
  launch(on, "pack", {blocks(count), kThreads}, pack_elements, a,
         packed_format(a.source_format, a.math), count);
}

void unpack_rows(const Launch& on, const PackedMatrix& matrix, const std::int64_t* rows,
                 std::int64_t count, float* out) {
  launch(on, "unpack_rows", {blocks(count * matrix.inputs), kThreads}, unpack, matrix, rows, count,
         out);
}

// A thread an element: a row's elements lie a panel apart, so each brings a sector of its own.
void embedding(const Launch& on, const EmbeddingArguments& a) {
  launch(on, "embedding", {blocks(a.rows * a.table.inputs), kThreads}, embed, a);
}

}  // namespace perilune::kernels::cuda
