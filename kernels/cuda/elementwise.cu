// unary, binary, where, gated: out[i] = f(x[i], ...), element by element.
//
// Floats compute in f32 (f16 and bf16 are widened, the result rounded once), integers in i64 where
// kernel_table.h says so, wrapping around on overflow. The formulas are the scalar reference's;
// exponentials and the like are the C library's functions. Nothing is summed.
//
// Dense f32 goes four elements to a load; everything else element by element through the strides,
// with the types as uniform switches: it is bound by memory or rare.
#include "kernels/cuda/activation.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/strided.h"
#include "kernels/element_functions.h"

namespace perilune::kernels::cuda {
namespace {

__device__ __forceinline__ float float_unary(Unary op, float x) {
  switch (op) {
    case Unary::exp: return expf(x);
    case Unary::log: return logf(x);
    case Unary::sqrt: return sqrtf(x);
    case Unary::tanh: return activate(Activation::tanh, x);
    case Unary::abs: return fabsf(x);
    case Unary::negate: return -x;
    case Unary::gelu: return activate(Activation::gelu, x);
    case Unary::gelu_tanh: return activate(Activation::gelu_tanh, x);
    case Unary::quick_gelu: return activate(Activation::quick_gelu, x);
    case Unary::relu: return activate(Activation::relu, x);
    case Unary::silu: return activate(Activation::silu, x);
    case Unary::sigmoid: return activate(Activation::sigmoid, x);
    case Unary::erf: return erff(x);
    case Unary::reciprocal: return 1.0f / x;
    case Unary::floor: return floorf(x);
    case Unary::is_nan: return x != x ? 1.0f : 0.0f;
    case Unary::is_inf: return fabsf(x) == __uint_as_float(0x7f800000u) ? 1.0f : 0.0f;
    case Unary::logical_not: return x == 0.0f ? 1.0f : 0.0f;
  }
  return x;
}

// ---- dense f32: a thread's four elements are adjacent; as one load where `vector` says so

struct DenseUnary {
  Unary op;
  __device__ __forceinline__ float operator()(float x, float) const { return float_unary(op, x); }
};
struct DenseBinary {
  Binary op;
  __device__ __forceinline__ float operator()(float a, float b) const {
    return float_binary(op, a, b);
  }
};
struct DenseGated {
  Activation activation;
  __device__ __forceinline__ float operator()(float a, float b) const {
    return activate(activation, a) * b;
  }
};

struct DenseActivation {
  Activation activation;
  __device__ __forceinline__ float operator()(float a, float) const {
    return activate(activation, a);
  }
};

template <class Function>
struct Dense {
  Function function;
  float* out;
  const float* a;
  const float* b;  // or null
  std::int64_t count;
  bool vector;  // all pointers are 16-byte aligned
};

template <class Function>
__global__ void __launch_bounds__(kElementThreads) dense_kernel(Dense<Function> job) {
  const std::int64_t first =
      (static_cast<std::int64_t>(blockIdx.x) * kElementThreads + threadIdx.x) * kPerThread;
  if (job.vector && first + kPerThread <= job.count) {
    const float4 a = *reinterpret_cast<const float4*>(job.a + first);
    const float4 b = job.b == nullptr ? make_float4(0, 0, 0, 0)
                                      : *reinterpret_cast<const float4*>(job.b + first);
    *reinterpret_cast<float4*>(job.out + first) =
        make_float4(job.function(a.x, b.x), job.function(a.y, b.y), job.function(a.z, b.z),
                    job.function(a.w, b.w));
    return;
  }
  for (int i = 0; i < kPerThread && first + i < job.count; ++i)
    job.out[first + i] = job.function(job.a[first + i], job.b == nullptr ? 0.0f : job.b[first + i]);
}

// Blocks of kElementThreads * kPerThread elements: enough warps to cover the loads' latency.
template <class Function>
void run_dense(const Launch& on, const char* name, Function function, float* out, const float* a,
               const float* b, std::int64_t count) {
  const Dense<Function> job = {function, out, a, b, count, are_aligned(16, out, a, b)};
  launch(on, name, element_blocks(count), dense_kernel<Function>, job);
}

// ---- any strides, any types

struct UnaryJob {
  Unary op;
  bool whole;  // in i64
  Walk<2> walk;
};

__global__ void __launch_bounds__(kElementThreads) unary_kernel(UnaryJob job) {
  const auto& walk = job.walk;
  each_element(walk.count, [&](std::int64_t index) {
    std::int64_t at[2];
    walk.offsets(index, at);
    if (job.whole) {
      const auto x = load_as<std::int64_t>(walk.data[1], walk.dtypes[1], at[1]);
      store_as(walk.data[0], walk.dtypes[0], at[0], integer_unary(job.op, x));
    } else {
      const auto x = load_as<float>(walk.data[1], walk.dtypes[1], at[1]);
      store_as(walk.data[0], walk.dtypes[0], at[0], float_unary(job.op, x));
    }
  });
}

struct BinaryJob {
  Binary op;
  bool whole;
  Walk<3> walk;
  float number;  // of the operand without data
  std::int64_t whole_number;

  template <class To>
  __device__ __forceinline__ To operand(int i, std::int64_t at) const {
    if (walk.data[i] != nullptr) return load_as<To>(walk.data[i], walk.dtypes[i], at);
    return walk.dtypes[i] == DType::f32 ? static_cast<To>(number) : static_cast<To>(whole_number);
  }
};

__global__ void __launch_bounds__(kElementThreads) binary_kernel(BinaryJob job) {
  const auto& walk = job.walk;
  each_element(walk.count, [&](std::int64_t index) {
    std::int64_t at[3];
    walk.offsets(index, at);
    if (job.whole) {
      const auto a = job.operand<std::int64_t>(1, at[1]);
      const auto b = job.operand<std::int64_t>(2, at[2]);
      store_as(walk.data[0], walk.dtypes[0], at[0], integer_binary(job.op, a, b));
    } else {
      const auto a = job.operand<float>(1, at[1]);
      const auto b = job.operand<float>(2, at[2]);
      store_as(walk.data[0], walk.dtypes[0], at[0], float_binary(job.op, a, b));
    }
  });
}

struct WhereJob {
  bool whole;
  Walk<4> walk;  // out, condition, a, b
};

__global__ void __launch_bounds__(kElementThreads) where_kernel(WhereJob job) {
  const auto& walk = job.walk;
  each_element(walk.count, [&](std::int64_t index) {
    std::int64_t at[4];
    walk.offsets(index, at);
    const bool first = load_as<float>(walk.data[1], walk.dtypes[1], at[1]) != 0.0f;
    const void* from = first ? walk.data[2] : walk.data[3];
    const DType dtype = first ? walk.dtypes[2] : walk.dtypes[3];
    const std::int64_t offset = first ? at[2] : at[3];
    if (job.whole)
      store_as(walk.data[0], walk.dtypes[0], at[0], load_as<std::int64_t>(from, dtype, offset));
    else
      store_as(walk.data[0], walk.dtypes[0], at[0], load_as<float>(from, dtype, offset));
  });
}

}  // namespace

void unary(const Launch& on, const UnaryArguments& a) {
  const UnaryJob job = {a.op, !is_float(a.x.dtype) && is_integer_unary(a.op),
                        walk_of<2>(a.sizes, 0, a.rank, {&a.out, &a.x})};
  if (is_dense_float(job.walk)) {
    run_dense(on, "unary", DenseUnary{a.op}, static_cast<float*>(a.out.data),
              static_cast<const float*>(a.x.data), nullptr, job.walk.count);
    return;
  }
  launch(on, "unary_strided", element_blocks(job.walk.count), unary_kernel, job);
}

void binary(const Launch& on, const BinaryArguments& a) {
  const bool whole = !is_float(a.a.dtype) && !is_float(a.b.dtype) && a.op != Binary::divide &&
                     a.op != Binary::power;
  const bool given = a.a.data != nullptr && a.b.data != nullptr;
  const bool counts = !given && (a.a.data == nullptr ? a.a : a.b).dtype == DType::i64;
  const BinaryJob job = {a.op, whole, walk_of<3>(a.sizes, 0, a.rank, {&a.out, &a.a, &a.b}),
                         static_cast<float>(a.number),
                         counts ? static_cast<std::int64_t>(a.number) : 0};
  if (given && is_dense_float(job.walk)) {
    run_dense(on, "binary", DenseBinary{a.op}, static_cast<float*>(a.out.data),
              static_cast<const float*>(a.a.data), static_cast<const float*>(a.b.data),
              job.walk.count);
    return;
  }
  launch(on, "binary_strided", element_blocks(job.walk.count), binary_kernel, job);
}

void where(const Launch& on, const WhereArguments& a) {
  const WhereJob job = {!is_float(a.a.dtype) && !is_float(a.b.dtype),
                        walk_of<4>(a.sizes, 0, a.rank, {&a.out, &a.condition, &a.a, &a.b})};
  launch(on, "where", element_blocks(job.walk.count), where_kernel, job);
}

void gated(const Launch& on, const GatedArguments& a) {
  if (a.b == nullptr) {
    run_dense(on, "activation", DenseActivation{a.activation}, a.out, a.a, nullptr, a.count);
  } else {
    run_dense(on, "gated", DenseGated{a.activation}, a.out, a.a, a.b, a.count);
  }
}

}  // namespace perilune::kernels::cuda
