// Elementary functions on vectors, and the activations made of them. Lane by lane: a value has the
// same bits wherever it stands. Errors are a few units in the last place.
#pragma once

#include "kernels/kernel_table.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

/// c[0] + c[1] x + ... by Horner's rule.
template <int kCount>
PERILUNE_INLINE Vec polynomial(Vec x, const float (&c)[kCount]) {
  Vec value = splat(c[kCount - 1]);
#pragma GCC unroll 16
  for (int i = kCount - 2; i >= 0; --i) value = multiply_add(value, x, splat(c[i]));
  return value;
}

// x = n ln 2 + r with |r| <= ln(2) / 2; ln 2 in two parts, the first short enough for n * it.
inline constexpr float kPerLn2 = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
// e^r = 1 + r + r^2 P(r).
inline constexpr float kExpTail[] = {0.5f, 0.166665763f, 0.0416665524f, 0.00836322922f,
                                     0.00139262469f};
inline constexpr float kLowestExponent = -87.0f;  // below it e^x is 0

/// e^x; exactly 1 at 0, exactly 0 below -87, infinity above 88.7; a NaN stays one.
PERILUNE_INLINE Vec exp(Vec x) {
  constexpr float kHighest = 88.72283f;
  const Vec inside = larger(splat(kLowestExponent), smaller(splat(kHighest), x));
  const Vec n = nearest(mul(inside, splat(kPerLn2)));
  const Vec r = multiply_add(n, splat(-kLn2Low), multiply_add(n, splat(-kLn2High), inside));
  const Vec near_one = add(splat(1.0f), multiply_add(polynomial(r, kExpTail), mul(r, r), r));
  // 2^n in two factors: n may be 128.
  const Vec value = mul(mul(near_one, power_of_two(sub(n, splat(1.0f)))), splat(2.0f));
  const Vec capped = select(less(splat(kHighest), x), splat(__builtin_inff()), value);
  return select(less(x, splat(kLowestExponent)), zero(), capped);
}

/// e^x of x <= 0, with two thirds of the work: exactly 1 at 0, exactly 0 below -87; a NaN stays
/// one.
PERILUNE_INLINE Vec exp_of_negative(Vec x) {
  // A sum with it is rounded to a whole number, n + 127 in its last bits.
  constexpr float kShift = 12582912.0f + 127.0f;
  const Vec shifted = multiply_add(x, splat(kPerLn2), splat(kShift));
  const Vec n = sub(shifted, splat(kShift));
  const Vec r = multiply_add(n, splat(-kLn2Low), multiply_add(n, splat(-kLn2High), x));
  const Vec slope = multiply_add(polynomial(r, kExpTail), r, splat(1.0f));
  const Vec value = mul(multiply_add(slope, r, splat(1.0f)), power_of_last_bits(shifted));
  return select(less(x, splat(kLowestExponent)), zero(), value);
}

PERILUNE_INLINE Vec tanh(Vec x) {
  constexpr float kSmall[] = {1.0f,           -0.333332598f, 0.133311063f,
                              -0.0537194833f, 0.0205861535f, -0.00565482723f};
  const Vec size = magnitude(x), square = mul(x, x);
  const Vec small = mul(x, polynomial(square, kSmall));
  const Vec grown = add(exp(add(size, size)), splat(1.0f));
  const Vec large = with_sign(sub(splat(1.0f), div(splat(2.0f), grown)), x);
  // A NaN is not less than anything and is kept by `small` only.
  return select(less(splat(0.625f), size), large, small);
}

/// Near 0 a polynomial in x^2, from 1 on 1 - exp(-x^2) P(1 / (1 + x / 2)).
PERILUNE_INLINE Vec erf(Vec x) {
  constexpr float kSmall[] = {1.12837911f,    -0.37612626f,    0.112835944f,   -0.0268542115f,
                              0.00518908724f, -0.00080168643f, 7.87587487e-05f};
  constexpr float kLarge[] = {0.000537095824f, 0.274476618f,   0.3264606f,    0.113055646f,
                              0.386186272f,    -0.0433860384f, -0.0580902062f};
  const Vec size = smaller(splat(4.2f), magnitude(x)), square = mul(x, x);
  const Vec small = mul(x, polynomial(square, kSmall));
  const Vec t = div(splat(1.0f), multiply_add(size, splat(0.5f), splat(1.0f)));
  const Vec rest = mul(exp(sub(zero(), mul(size, size))), polynomial(t, kLarge));
  const Vec large = with_sign(sub(splat(1.0f), rest), x);
  return select(less(splat(1.0f), size), large, small);
}

PERILUNE_INLINE Vec sigmoid(Vec x) {
  return div(splat(1.0f), add(splat(1.0f), exp(sub(zero(), x))));
}

template <Activation kActivation>
PERILUNE_INLINE Vec activated(Vec x) {
  const Vec half = mul(splat(0.5f), x);
  switch (kActivation) {
    case Activation::none: return x;
    case Activation::gelu: return mul(half, add(splat(1.0f), erf(mul(x, splat(0.70710678f)))));
    case Activation::gelu_tanh: {
      const Vec cube = mul(mul(mul(splat(0.044715f), x), x), x);
      return mul(half, add(splat(1.0f), tanh(mul(splat(0.79788456f), add(x, cube)))));
    }
    case Activation::quick_gelu: return div(x, add(splat(1.0f), exp(mul(splat(-1.702f), x))));
    case Activation::relu: return larger(zero(), x);
    case Activation::silu: return div(x, add(splat(1.0f), exp(sub(zero(), x))));
    case Activation::tanh: return tanh(x);
    case Activation::sigmoid: return sigmoid(x);
    case Activation::gelu_10:
      return smaller(splat(10.0f), larger(splat(-10.0f), activated<Activation::gelu>(x)));
    case Activation::relu2: {
      const Vec y = larger(zero(), x);
      return mul(y, y);
    }
    case Activation::relu6: return smaller(splat(6.0f), larger(zero(), x));
    case Activation::leaky_relu: return select(less(x, zero()), mul(splat(0.01f), x), x);
    case Activation::mish: {
      const Vec e = exp(smaller(splat(20.0f), x)), n = mul(e, add(e, splat(2.0f)));
      return mul(x, div(n, add(n, splat(2.0f))));
    }
    case Activation::laplace: {
      const Vec scaled = mul(sub(x, splat(0.707107f)), splat(kLaplaceScale));
      return mul(splat(0.5f), add(splat(1.0f), erf(scaled)));
    }
  }
  return x;
}

/// The first `count` < kLanes elements; zeros behind them.
PERILUNE_INLINE Vec load_part(const float* p, std::int64_t count) {
  float lanes[kLanes] = {};
  for (std::int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}
PERILUNE_INLINE void store_part(float* p, Vec x, std::int64_t count) {
  float lanes[kLanes];
  store(lanes, x);
  for (std::int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}

/// `count` elements as f32, in `buffer` where they are not already. A multiple of kLanes.
PERILUNE_INLINE const float* widened(const float* weight, std::int64_t, float*) {
  return weight;
}
template <class Half>
PERILUNE_INLINE const float* widened(const Half* weight, std::int64_t count, float* buffer) {
  for (std::int64_t i = 0; i < count; i += kLanes) store(buffer + i, load(weight + i));
  return buffer;
}

/// out[i] = function(x[i]); out may be x.
template <class Function>
PERILUNE_INLINE void map(float* out, const float* x, std::int64_t count, Function function) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, function(load(x + i)));
  if (i < count) store_part(out + i, function(load_part(x + i, count - i)), count - i);
}

template <Activation kActivation>
void activate_run(float* out, const float* x, std::int64_t count) {
  map(out, x, count, [](Vec v) { return activated<kActivation>(v); });
}

using RunFunction = void (*)(float* out, const float* x, std::int64_t count);

/// The loop of an activation; null for none.
[[maybe_unused]] RunFunction activation_function(Activation activation) {
  switch (activation) {
    case Activation::none: return nullptr;
    case Activation::gelu: return activate_run<Activation::gelu>;
    case Activation::gelu_tanh: return activate_run<Activation::gelu_tanh>;
    case Activation::quick_gelu: return activate_run<Activation::quick_gelu>;
    case Activation::relu: return activate_run<Activation::relu>;
    case Activation::silu: return activate_run<Activation::silu>;
    case Activation::tanh: return activate_run<Activation::tanh>;
    case Activation::sigmoid: return activate_run<Activation::sigmoid>;
    case Activation::gelu_10: return activate_run<Activation::gelu_10>;
    case Activation::relu2: return activate_run<Activation::relu2>;
    case Activation::relu6: return activate_run<Activation::relu6>;
    case Activation::leaky_relu: return activate_run<Activation::leaky_relu>;
    case Activation::mish: return activate_run<Activation::mish>;
    case Activation::laplace: return activate_run<Activation::laplace>;
  }
  return nullptr;
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
