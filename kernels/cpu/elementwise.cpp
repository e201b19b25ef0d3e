// Element by element, for tensors in scripts and what plans do not fuse. Pieces of each operand are
// brought to f32 or i64, computed, and stored as the output's type; plain f32 is computed in place.
#include <cmath>
#include <cstring>

#include "kernels/cpu/scalar.h"
#include "kernels/cpu/strided.h"
#include "kernels/element_functions.h"

namespace perilune::kernels::scalar {
namespace {

template <class Function>
void apply(float* out, const float* x, std::int64_t count, const Function& function) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = function(x[i]);
}
template <Activation kActivation>
void apply_activation(float* out, const float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = activate(kActivation, x[i]);
}

/// The four common ones without a switch inside the loop.
void float_binary_run(Binary op, float* out, const float* a, const float* b, std::int64_t count) {
  const auto each = [&](auto function) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = function(a[i], b[i]);
  };
  switch (op) {
    case Binary::add: return each([](float p, float q) { return p + q; });
    case Binary::subtract: return each([](float p, float q) { return p - q; });
    case Binary::multiply: return each([](float p, float q) { return p * q; });
    case Binary::divide: return each([](float p, float q) { return p / q; });
    default: return each([op](float p, float q) { return float_binary(op, p, q); });
  }
}

template <class Number>
void where_run(const Run& out, const float* condition, const Run& a, const Run& b,
               std::int64_t count) {
  Number left[kPiece], right[kPiece];
  load_run(a, count, left);
  load_run(b, count, right);
  for (std::int64_t i = 0; i < count; ++i) left[i] = condition[i] != 0 ? left[i] : right[i];
  store_run(out, count, left);
}

}  // namespace

FloatFunction unary_function(Unary op) {
  using Count = std::int64_t;
  switch (op) {
    case Unary::exp:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return std::exp(v); });
      };
    case Unary::log:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return std::log(v); });
      };
    case Unary::sqrt:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return std::sqrt(v); });
      };
    case Unary::tanh: return apply_activation<Activation::tanh>;
    case Unary::abs:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return std::fabs(v); });
      };
    case Unary::negate:
      return [](float* o, const float* x, Count n) { apply(o, x, n, [](float v) { return -v; }); };
    case Unary::gelu: return apply_activation<Activation::gelu>;
    case Unary::gelu_tanh: return apply_activation<Activation::gelu_tanh>;
    case Unary::quick_gelu: return apply_activation<Activation::quick_gelu>;
    case Unary::relu: return apply_activation<Activation::relu>;
    case Unary::silu: return apply_activation<Activation::silu>;
    case Unary::sigmoid: return apply_activation<Activation::sigmoid>;
    case Unary::erf:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return std::erf(v); });
      };
    case Unary::reciprocal:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return 1.0f / v; });
      };
    case Unary::floor:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return std::floor(v); });
      };
    case Unary::is_nan:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return v != v ? 1.0f : 0.0f; });
      };
    case Unary::is_inf:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return std::isinf(v) ? 1.0f : 0.0f; });
      };
    case Unary::logical_not:
      return [](float* o, const float* x, Count n) {
        apply(o, x, n, [](float v) { return v == 0 ? 1.0f : 0.0f; });
      };
  }
  return nullptr;
}

void unary_with(const Launch& launch, const UnaryArguments& a, FloatFunction function) {
  const Walk<2> walk(a.rank, a.sizes, {&a.out, &a.x});
  walk.pieces(launch, [&](std::int64_t outer, std::int64_t offset, std::int64_t count) {
    const Run out = walk.run(0, outer, offset), x = walk.run(1, outer, offset);
    if (is_dense_float(out) && is_dense_float(x)) {
      function(reinterpret_cast<float*>(out.data), reinterpret_cast<const float*>(x.data), count);
      return;
    }
    if (!is_float(x.dtype) && is_integer_unary(a.op)) {
      std::int64_t whole[kPiece];
      load_run(x, count, whole);
      for (std::int64_t i = 0; i < count; ++i) whole[i] = integer_unary(a.op, whole[i]);
      return store_run(out, count, whole);
    }
    float values[kPiece];
    load_run(x, count, values);
    function(values, values, count);
    store_run(out, count, values);
  });
}

void unary(const Launch& launch, const UnaryArguments& a) {
  unary_with(launch, a, unary_function(a.op));
}

void binary(const Launch& launch, const BinaryArguments& given) {
  BinaryArguments a = given;
  auto number = static_cast<float>(a.number);
  std::int64_t whole_number = 0;
  Strided* const operands[] = {&a.a, &a.b};
  for (Strided* const operand : operands) {
    if (operand->data != nullptr) continue;
    operand->data = &number;
    if (operand->dtype != DType::i64) continue;
    whole_number = static_cast<std::int64_t>(a.number);
    operand->data = &whole_number;
  }
  const Walk<3> walk(a.rank, a.sizes, {&a.out, &a.a, &a.b});
  const bool whole = !is_float(a.a.dtype) && !is_float(a.b.dtype) && a.op != Binary::divide &&
                     a.op != Binary::power;
  walk.pieces(launch, [&](std::int64_t outer, std::int64_t offset, std::int64_t count) {
    const Run out = walk.run(0, outer, offset);
    const Run left = walk.run(1, outer, offset), right = walk.run(2, outer, offset);
    if (is_dense_float(out) && is_dense_float(left) && is_dense_float(right)) {
      float_binary_run(a.op, reinterpret_cast<float*>(out.data),
                       reinterpret_cast<const float*>(left.data),
                       reinterpret_cast<const float*>(right.data), count);
    } else if (whole) {
      std::int64_t p[kPiece], q[kPiece];
      load_run(left, count, p);
      load_run(right, count, q);
      for (std::int64_t i = 0; i < count; ++i) p[i] = integer_binary(a.op, p[i], q[i]);
      store_run(out, count, p);
    } else {
      float p[kPiece], q[kPiece];
      load_run(left, count, p);
      load_run(right, count, q);
      float_binary_run(a.op, p, p, q, count);
      store_run(out, count, p);
    }
  });
}

void where(const Launch& launch, const WhereArguments& a) {
  const Walk<4> walk(a.rank, a.sizes, {&a.out, &a.condition, &a.a, &a.b});
  const bool whole = !is_float(a.a.dtype) && !is_float(a.b.dtype);
  walk.pieces(launch, [&](std::int64_t outer, std::int64_t offset, std::int64_t count) {
    float condition[kPiece];
    load_run(walk.run(1, outer, offset), count, condition);
    const Run out = walk.run(0, outer, offset);
    const Run left = walk.run(2, outer, offset), right = walk.run(3, outer, offset);
    if (whole)
      where_run<std::int64_t>(out, condition, left, right, count);
    else
      where_run<float>(out, condition, left, right, count);
  });
}

void copy(const Launch& launch, const CopyArguments& a) {
  const Walk<2> walk(a.rank, a.sizes, {&a.out, &a.x});
  const bool same = a.out.dtype == a.x.dtype;
  walk.pieces(launch, [&](std::int64_t outer, std::int64_t offset, std::int64_t count) {
    const Run out = walk.run(0, outer, offset), x = walk.run(1, outer, offset);
    if (same && out.stride == 1 && x.stride == 1) {
      std::memcpy(out.data, x.data, static_cast<std::size_t>(count) * dtype_size(out.dtype));
    } else if (is_float(x.dtype)) {
      float values[kPiece];
      load_run(x, count, values);
      store_run(out, count, values);
    } else {
      std::int64_t values[kPiece];
      load_run(x, count, values);
      store_run(out, count, values);
    }
  });
}

}  // namespace perilune::kernels::scalar
