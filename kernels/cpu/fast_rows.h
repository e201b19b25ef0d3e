// Norms, softmax, rotary embedding and gates, row by row. A sum runs in kLanes * 4 lanes that are
// joined by one tree; what does not fill a vector is added at the end. That depends on the width
// alone.
#pragma once

#include "kernels/cpu/parallel.h"

namespace perilune::kernels::PERILUNE_TIER {
namespace {

inline constexpr std::int64_t kElementsPerTask = 16384;

/// sum over i of term(x[i]).
template <class Term>
PERILUNE_INLINE float sum_of(const float* x, std::int64_t count, Term term) {
  Vec a = zero(), b = zero(), c = zero(), d = zero();
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    a = add(a, term(load(x + i)));
    b = add(b, term(load(x + i + kLanes)));
    c = add(c, term(load(x + i + 2 * kLanes)));
    d = add(d, term(load(x + i + 3 * kLanes)));
  }
  for (; i + kLanes <= count; i += kLanes) a = add(a, term(load(x + i)));
  float total = sum(add(add(a, b), add(c, d)));
  for (; i < count; ++i) total += first(term(splat(x[i])));
  return total;
}

template <class Body>
PERILUNE_INLINE void each_row(const Launch& launch, std::int64_t rows, std::int64_t width,
                              const Body& body) {
  parallel_ranges(launch, rows, 1 + kElementsPerTask / (width + 1),
                  [&](std::int64_t begin, std::int64_t end) {
                    for (std::int64_t row = begin; row < end; ++row) body(row);
                  });
}

/// body(i, count) over [0, width) in vectors; count < kLanes at the end only.
template <class Body>
PERILUNE_INLINE void each_vector(std::int64_t width, const Body& body) {
  for (std::int64_t i = 0; i < width; i += kLanes)
    body(i, width - i < kLanes ? width - i : static_cast<std::int64_t>(kLanes));
}
PERILUNE_INLINE Vec load_some(const float* p, std::int64_t count) {
  return count == kLanes ? load(p) : load_part(p, count);
}
PERILUNE_INLINE void store_some(float* p, Vec x, std::int64_t count) {
  if (count == kLanes) return store(p, x);
  store_part(p, x, count);
}

/// The row that is normalized: x, or x + residual, which is also stored.
[[maybe_unused]] const float* norm_input(const NormArguments& a, std::int64_t row) {
  const float* x = a.x + row * a.x_stride;
  if (a.residual == nullptr) return x;
  const float* residual = a.residual + row * a.x_stride;
  float* total = a.sum + row * a.x_stride;
  each_vector(a.width, [&](std::int64_t i, std::int64_t count) {
    store_some(total + i, add(load_some(x + i, count), load_some(residual + i, count)), count);
  });
  return total;
}

PERILUNE_INLINE float root(float x) {
  return __builtin_sqrtf(x);
}

[[maybe_unused]] void rms_norm(const Launch& launch, const NormArguments& a) {
  each_row(launch, a.rows, a.width, [&](std::int64_t row) {
    const float* x = norm_input(a, row);
    float* out = a.out + row * a.out_stride;
    const float squares = sum_of(x, a.width, [](Vec v) { return mul(v, v); });
    const Vec inverse = splat(1.0f / root(squares / static_cast<float>(a.width) + a.epsilon));
    each_vector(a.width, [&](std::int64_t i, std::int64_t count) {
      const Vec weight = a.weight == nullptr ? splat(1.0f) : load_some(a.weight + i, count);
      const Vec scaled = mul(load_some(x + i, count), inverse);
      store_some(out + i, mul(scaled, add(weight, splat(a.offset))), count);
    });
  });
}

[[maybe_unused]] void layer_norm(const Launch& launch, const NormArguments& a) {
  each_row(launch, a.rows, a.width, [&](std::int64_t row) {
    const float* x = norm_input(a, row);
    float* out = a.out + row * a.out_stride;
    const float width = static_cast<float>(a.width);
    const Vec mean = splat(sum_of(x, a.width, [](Vec v) { return v; }) / width);
    const float squares = sum_of(x, a.width, [&](Vec v) {
      const Vec centred = sub(v, mean);
      return mul(centred, centred);
    });
    const Vec inverse = splat(1.0f / root(squares / width + a.epsilon));
    each_vector(a.width, [&](std::int64_t i, std::int64_t count) {
      Vec value = mul(sub(load_some(x + i, count), mean), inverse);
      if (a.weight != nullptr) value = mul(value, load_some(a.weight + i, count));
      if (a.bias != nullptr) value = add(value, load_some(a.bias + i, count));
      store_some(out + i, value, count);
    });
  });
}

PERILUNE_INLINE float largest_of(const float* x, std::int64_t count) {
  Vec best = splat(-__builtin_inff());
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) best = larger(load(x + i), best);
  float result = largest(best);
  for (; i < count; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

[[maybe_unused]] void softmax(const Launch& launch, const SoftmaxArguments& a) {
  each_row(launch, a.rows, a.width * 4, [&](std::int64_t row) {
    const float* x = a.x + row * a.x_stride;
    float* out = a.out + row * a.out_stride;
    const float highest = largest_of(x, a.width);
    if (highest == -__builtin_inff()) {  // nothing to weigh (or only NaN, which must stay visible)
      for (std::int64_t i = 0; i < a.width; ++i)
        out[i] = x[i] != x[i] ? x[i] : (a.logarithm ? highest : 0.0f);
      return;
    }
    const Vec maximum = splat(highest);
    const float total = sum_of(x, a.width, [&](Vec v) { return exp(sub(v, maximum)); });
    const Vec logarithm = splat(a.logarithm ? __builtin_logf(total) : 0.0f), sums = splat(total);
    if (a.logarithm)
      map(out, x, a.width, [&](Vec v) { return sub(sub(v, maximum), logarithm); });
    else
      map(out, x, a.width, [&](Vec v) { return div(exp(sub(v, maximum)), sums); });
  });
}

/// Halves apart only; neighbours go through the shared loop.
[[maybe_unused]] void rope(const Launch& launch, const RopeArguments& a) {
  if (a.interleaved) return scalar::rope(launch, a);
  each_row(launch, a.rows, a.heads * a.head_dim, [&](std::int64_t row) {
    const float* cosine = a.cosine + row * a.pairs;
    const float* sine = a.sine + row * a.pairs;
    for (std::int64_t head = 0; head < a.heads; ++head) {
      const float* x = a.x + (row * a.heads + head) * a.head_dim;
      float* out = a.out + (row * a.heads + head) * a.head_dim;
      each_vector(a.pairs, [&](std::int64_t j, std::int64_t count) {
        const Vec c = load_some(cosine + j, count), s = load_some(sine + j, count);
        const Vec p = load_some(x + j, count), q = load_some(x + a.pairs + j, count);
        store_some(out + j, sub(mul(p, c), mul(q, s)), count);
        store_some(out + a.pairs + j, add(mul(q, c), mul(p, s)), count);
      });
      for (std::int64_t i = 2 * a.pairs; i < a.head_dim; ++i) out[i] = x[i];
    }
  });
}

template <Activation kActivation>
void gate_run(float* out, const float* a, const float* b, std::int64_t count) {
  if (b == nullptr) return activate_run<kActivation>(out, a, count);
  each_vector(count, [&](std::int64_t i, std::int64_t n) {
    store_some(out + i, mul(activated<kActivation>(load_some(a + i, n)), load_some(b + i, n)), n);
  });
}

using GateFunction = void (*)(float* out, const float* a, const float* b, std::int64_t count);
[[maybe_unused]] GateFunction gate_function(Activation activation) {
  switch (activation) {
    case Activation::none: return gate_run<Activation::none>;
    case Activation::gelu: return gate_run<Activation::gelu>;
    case Activation::gelu_tanh: return gate_run<Activation::gelu_tanh>;
    case Activation::quick_gelu: return gate_run<Activation::quick_gelu>;
    case Activation::relu: return gate_run<Activation::relu>;
    case Activation::silu: return gate_run<Activation::silu>;
    case Activation::tanh: return gate_run<Activation::tanh>;
    case Activation::sigmoid: return gate_run<Activation::sigmoid>;
    case Activation::gelu_10: return gate_run<Activation::gelu_10>;
    case Activation::relu2: return gate_run<Activation::relu2>;
    case Activation::relu6: return gate_run<Activation::relu6>;
    case Activation::leaky_relu: return gate_run<Activation::leaky_relu>;
    case Activation::mish: return gate_run<Activation::mish>;
    case Activation::laplace: return gate_run<Activation::laplace>;
  }
  return nullptr;
}

[[maybe_unused]] void gated(const Launch& launch, const GatedArguments& a) {
  const GateFunction function = gate_function(a.activation);
  parallel_ranges(launch, a.count, kElementsPerTask, [&](std::int64_t begin, std::int64_t end) {
    function(a.out + begin, a.a + begin, a.b == nullptr ? nullptr : a.b + begin, end - begin);
  });
}

void exp_run(float* out, const float* x, std::int64_t count) {
  map(out, x, count, [](Vec v) { return exp(v); });
}
void erf_run(float* out, const float* x, std::int64_t count) {
  map(out, x, count, [](Vec v) { return erf(v); });
}

/// The tier's loop where it has one, so that fused and single activations agree bit for bit.
[[maybe_unused]] RunFunction unary_run(Unary op) {
  switch (op) {
    case Unary::exp: return exp_run;
    case Unary::erf: return erf_run;
    case Unary::gelu: return activation_function(Activation::gelu);
    case Unary::gelu_tanh: return activation_function(Activation::gelu_tanh);
    case Unary::quick_gelu: return activation_function(Activation::quick_gelu);
    case Unary::relu: return activation_function(Activation::relu);
    case Unary::silu: return activation_function(Activation::silu);
    case Unary::tanh: return activation_function(Activation::tanh);
    case Unary::sigmoid: return activation_function(Activation::sigmoid);
    default: return scalar::unary_function(op);
  }
}
[[maybe_unused]] void unary(const Launch& launch, const UnaryArguments& a) {
  scalar::unary_with(launch, a, unary_run(a.op));
}

}  // namespace
}  // namespace perilune::kernels::PERILUNE_TIER
