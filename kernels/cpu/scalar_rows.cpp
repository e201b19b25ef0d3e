// Norms, rotary embedding, softmax, running sums and gates: one row at a time, ascending.
#include <cmath>
#include <limits>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/scalar.h"

namespace perilune::kernels::scalar {
namespace {

constexpr std::int64_t kElementsPerTask = 16384;

std::int64_t rows_per_task(std::int64_t width) {
  return 1 + kElementsPerTask / (width + 1);
}

/// The row that is normalized: x, or x + residual, which is also stored.
const float* norm_input(const NormArguments& a, std::int64_t row) {
  const float* x = a.x + row * a.x_stride;
  if (a.residual == nullptr) return x;
  const float* residual = a.residual + row * a.x_stride;
  float* sum = a.sum + row * a.x_stride;
  for (std::int64_t i = 0; i < a.width; ++i) sum[i] = x[i] + residual[i];
  return sum;
}

template <class Body>
void each_row(const Launch& launch, std::int64_t rows, std::int64_t width, const Body& body) {
  parallel_ranges(launch, rows, rows_per_task(width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) body(row);
  });
}

}  // namespace

float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::gelu: return 0.5f * x * (1.0f + std::erf(x * 0.70710678118654752f));
    case Activation::gelu_tanh:
      return 0.5f * x * (1.0f + std::tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    case Activation::quick_gelu: return x / (1.0f + std::exp(-1.702f * x));
    case Activation::relu: return x < 0.0f ? 0.0f : x;
    case Activation::silu: return x / (1.0f + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::sigmoid: return 1.0f / (1.0f + std::exp(-x));
    case Activation::gelu_10: {
      const float y = activate(Activation::gelu, x);
      return y < -10.0f ? -10.0f : (y > 10.0f ? 10.0f : y);
    }
    case Activation::relu2: return x < 0.0f ? 0.0f : x * x;
    case Activation::relu6: return x < 0.0f ? 0.0f : (x > 6.0f ? 6.0f : x);
    case Activation::leaky_relu: return x < 0.0f ? 0.01f * x : x;
    case Activation::mish: {  // tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2); 1 from 20 on
      const float e = std::exp(x < 20.0f ? x : 20.0f), n = e * (e + 2.0f);
      return x * (n / (n + 2.0f));
    }
    case Activation::laplace: return 0.5f * (1.0f + std::erf((x - 0.707107f) * kLaplaceScale));
  }
  return x;
}

void rms_norm(const Launch& launch, const NormArguments& a) {
  each_row(launch, a.rows, a.width, [&](std::int64_t row) {
    const float* x = norm_input(a, row);
    float* out = a.out + row * a.out_stride;
    double squares = 0;
    for (std::int64_t i = 0; i < a.width; ++i) squares += static_cast<double>(x[i]) * x[i];
    const float mean = static_cast<float>(squares / static_cast<double>(a.width));
    const float inverse = 1.0f / std::sqrt(mean + a.epsilon);
    for (std::int64_t i = 0; i < a.width; ++i) {
      const float weight = (a.weight == nullptr ? 1.0f : a.weight[i]) + a.offset;
      out[i] = x[i] * inverse * weight;
    }
  });
}

void layer_norm(const Launch& launch, const NormArguments& a) {
  each_row(launch, a.rows, a.width, [&](std::int64_t row) {
    const float* x = norm_input(a, row);
    float* out = a.out + row * a.out_stride;
    double total = 0;
    for (std::int64_t i = 0; i < a.width; ++i) total += x[i];
    const double mean = total / static_cast<double>(a.width);
    double squares = 0;
    for (std::int64_t i = 0; i < a.width; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const float variance = static_cast<float>(squares / static_cast<double>(a.width));
    const float inverse = 1.0f / std::sqrt(variance + a.epsilon);
    for (std::int64_t i = 0; i < a.width; ++i) {
      const float weight = a.weight == nullptr ? 1.0f : a.weight[i];
      const float bias = a.bias == nullptr ? 0.0f : a.bias[i];
      out[i] = (x[i] - static_cast<float>(mean)) * inverse * weight + bias;
    }
  });
}

void rope_table(const Launch& launch, const RopeTableArguments& a) {
  each_row(launch, a.rows, a.pairs * 16, [&](std::int64_t row) {
    const std::int64_t variant = a.frequency_row == nullptr ? 0 : a.frequency_row[row];
    const float* frequencies = a.inverse_frequencies + variant * a.pairs;
    for (std::int64_t j = 0; j < a.pairs; ++j) {
      const float angle = static_cast<float>(a.positions[row]) * frequencies[j];
      a.cosine[row * a.pairs + j] = std::cos(angle) * a.attention_scale;
      a.sine[row * a.pairs + j] = std::sin(angle) * a.attention_scale;
    }
  });
}

void rope(const Launch& launch, const RopeArguments& a) {
  const std::int64_t apart = a.interleaved ? 1 : a.pairs, step = a.interleaved ? 2 : 1;
  each_row(launch, a.rows, a.heads * a.head_dim, [&](std::int64_t row) {
    const float* cosine = a.cosine + row * a.pairs;
    const float* sine = a.sine + row * a.pairs;
    for (std::int64_t head = 0; head < a.heads; ++head) {
      const float* x = a.x + (row * a.heads + head) * a.head_dim;
      float* out = a.out + (row * a.heads + head) * a.head_dim;
      for (std::int64_t j = 0; j < a.pairs; ++j) {
        const float first = x[j * step], second = x[j * step + apart];
        out[j * step] = first * cosine[j] - second * sine[j];
        out[j * step + apart] = second * cosine[j] + first * sine[j];
      }
      for (std::int64_t i = 2 * a.pairs; i < a.head_dim; ++i) out[i] = x[i];
    }
  });
}

void softmax(const Launch& launch, const SoftmaxArguments& a) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  each_row(launch, a.rows, a.width * 4, [&](std::int64_t row) {
    const float* x = a.x + row * a.x_stride;
    float* out = a.out + row * a.out_stride;
    float maximum = kLowest;
    for (std::int64_t i = 0; i < a.width; ++i) maximum = x[i] > maximum ? x[i] : maximum;
    if (maximum == kLowest) {  // nothing to weigh (or only NaN, which must stay visible)
      for (std::int64_t i = 0; i < a.width; ++i)
        out[i] = std::isnan(x[i]) ? x[i] : (a.logarithm ? kLowest : 0.0f);
      return;
    }
    double total = 0;  // f32 counts no further than 2^24
    for (std::int64_t i = 0; i < a.width; ++i) {
      total += static_cast<double>(std::exp(x[i] - maximum));
    }
    const auto sum = static_cast<float>(total);
    const float logarithm = std::log(sum);
    for (std::int64_t i = 0; i < a.width; ++i)
      out[i] = a.logarithm ? x[i] - maximum - logarithm : std::exp(x[i] - maximum) / sum;
  });
}

void cumulative_sum(const Launch& launch, const CumulativeSumArguments& a) {
  each_row(launch, a.rows, a.width, [&](std::int64_t row) {
    double sum = 0;  // f32 counts no further than 2^24
    for (std::int64_t i = 0; i < a.width; ++i) {
      sum += static_cast<double>(a.x[row * a.x_stride + i]);
      a.out[row * a.out_stride + i] = static_cast<float>(sum);
    }
  });
}

void gated(const Launch& launch, const GatedArguments& a) {
  parallel_ranges(launch, a.count, kElementsPerTask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float value = activate(a.activation, a.a[i]);
      a.out[i] = a.b == nullptr ? value : value * a.b[i];
    }
  });
}

}  // namespace perilune::kernels::scalar
