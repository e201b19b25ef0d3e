// What elementwise operations make of their numbers, where every device does the same: one
// definition for the plain CPU kernels and for CUDA. Exponentials and the like are each device's.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/kernel_table.h"

#ifdef __CUDACC__
#define PERILUNE_ELEMENT_FUNCTION __host__ __device__ __forceinline__
#else
#define PERILUNE_ELEMENT_FUNCTION inline
#endif

namespace perilune::kernels {

/// Operations that leave integers integers.
constexpr bool is_integer_unary(Unary op) {
  return op == Unary::abs || op == Unary::negate || op == Unary::relu || op == Unary::floor ||
         op == Unary::logical_not || op == Unary::is_nan || op == Unary::is_inf;
}

PERILUNE_ELEMENT_FUNCTION std::int64_t negated(std::int64_t x) {
  return static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(x));
}

PERILUNE_ELEMENT_FUNCTION std::int64_t integer_unary(Unary op, std::int64_t x) {
  switch (op) {
    case Unary::abs: return x < 0 ? negated(x) : x;
    case Unary::negate: return negated(x);
    case Unary::relu: return x < 0 ? 0 : x;
    case Unary::logical_not: return x == 0 ? 1 : 0;
    case Unary::is_nan:
    case Unary::is_inf: return 0;
    default: return x;
  }
}

PERILUNE_ELEMENT_FUNCTION float float_binary(Binary op, float a, float b) {
  switch (op) {
    case Binary::add: return a + b;
    case Binary::subtract: return a - b;
    case Binary::multiply: return a * b;
    case Binary::divide: return a / b;
    case Binary::minimum: return a != a || a < b ? a : b;  // a NaN stays
    case Binary::maximum: return a != a || a > b ? a : b;
    case Binary::power: return powf(a, b);
    case Binary::less: return a < b ? 1.0f : 0.0f;
    case Binary::less_equal: return a <= b ? 1.0f : 0.0f;
    case Binary::greater: return a > b ? 1.0f : 0.0f;
    case Binary::greater_equal: return a >= b ? 1.0f : 0.0f;
    case Binary::equal: return a == b ? 1.0f : 0.0f;
    case Binary::not_equal: return a != b ? 1.0f : 0.0f;
    case Binary::logical_and: return a != 0.0f && b != 0.0f ? 1.0f : 0.0f;
    case Binary::logical_or: return a != 0.0f || b != 0.0f ? 1.0f : 0.0f;
  }
  return 0.0f;
}

PERILUNE_ELEMENT_FUNCTION std::int64_t integer_binary(Binary op, std::int64_t a, std::int64_t b) {
  // Wraps around on overflow, in unsigned arithmetic, where that is defined.
  const auto ua = static_cast<std::uint64_t>(a), ub = static_cast<std::uint64_t>(b);
  switch (op) {
    case Binary::add: return static_cast<std::int64_t>(ua + ub);
    case Binary::subtract: return static_cast<std::int64_t>(ua - ub);
    case Binary::multiply: return static_cast<std::int64_t>(ua * ub);
    case Binary::minimum: return a < b ? a : b;
    case Binary::maximum: return a > b ? a : b;
    case Binary::less: return a < b ? 1 : 0;
    case Binary::less_equal: return a <= b ? 1 : 0;
    case Binary::greater: return a > b ? 1 : 0;
    case Binary::greater_equal: return a >= b ? 1 : 0;
    case Binary::equal: return a == b ? 1 : 0;
    case Binary::not_equal: return a != b ? 1 : 0;
    case Binary::logical_and: return a != 0 && b != 0 ? 1 : 0;
    case Binary::logical_or: return a != 0 || b != 0 ? 1 : 0;
    case Binary::divide:
    case Binary::power: break;
  }
  return 0;
}

}  // namespace perilune::kernels
