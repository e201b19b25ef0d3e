#include "engine/ops/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/base/error.h"

namespace perilune {

namespace {

/// base ^ (2j / dims) in f32: the exponent is rounded first, as the published implementation does.
std::vector<float> powers(float base, std::int64_t dims) {
  std::vector<float> out(static_cast<std::size_t>(dims / 2));
  for (std::size_t j = 0; j < out.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(dims);
    out[j] = static_cast<float>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  return out;
}

std::vector<float> inverse(std::vector<float> values) {
  for (float& value : values) value = 1.0f / value;
  return values;
}

/// Short sequences keep the base; longer ones stretch it (NTK-aware).
float dynamic_base(const RopeOptions& options, std::int64_t length) {
  const auto theta = static_cast<float>(options.theta);
  if (length <= options.original_max_positions || options.dims <= 2) return theta;
  const float stretched = static_cast<float>(options.factor) * static_cast<float>(length) /
                              static_cast<float>(options.original_max_positions) -
                          static_cast<float>(options.factor - 1.0);
  const auto exponent =
      static_cast<float>(static_cast<double>(options.dims) / static_cast<double>(options.dims - 2));
  return theta * static_cast<float>(
                     std::pow(static_cast<double>(stretched), static_cast<double>(exponent)));
}

/// Long wavelengths are divided by the factor, short ones kept, those between blended.
void scale_llama3(const RopeOptions& options, std::vector<float>& frequencies) {
  const auto factor = static_cast<float>(options.factor);
  const auto context = static_cast<double>(options.original_max_positions);
  const auto low = static_cast<float>(options.low_freq_factor);
  const auto spread = static_cast<float>(options.high_freq_factor - options.low_freq_factor);
  const auto longest = static_cast<float>(context / options.low_freq_factor);
  const auto shortest = static_cast<float>(context / options.high_freq_factor);
  for (float& frequency : frequencies) {
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / frequency;
    if (wavelength > longest) {
      frequency = frequency / factor;
    } else if (!(wavelength < shortest)) {
      const float smooth = (static_cast<float>(context) / wavelength - low) / spread;
      frequency = (1.0f - smooth) * frequency / factor + smooth * frequency;
    }
  }
}

std::vector<float> yarn_frequencies(const RopeOptions& options) {
  const auto dims = static_cast<double>(options.dims);
  const auto correction = [&](double rotations) {
    return dims *
           std::log(static_cast<double>(options.original_max_positions) /
                    (rotations * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(options.theta));
  };
  double low = correction(options.beta_fast), high = correction(options.beta_slow);
  if (options.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1.0);
  if (low == high) high += 0.001;  // no division by zero
  std::vector<float> frequencies = powers(static_cast<float>(options.theta), options.dims);
  for (std::size_t j = 0; j < frequencies.size(); ++j) {
    const float ramp =
        (static_cast<float>(j) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float keep =
        (1.0f - std::clamp(ramp, 0.0f, 1.0f)) * static_cast<float>(options.extrapolation);
    const float plain = 1.0f / frequencies[j];
    const float stretched = 1.0f / (static_cast<float>(options.factor) * frequencies[j]);
    frequencies[j] = stretched * (1.0f - keep) + plain * keep;
  }
  return frequencies;
}

std::vector<float> longrope_frequencies(const RopeOptions& options, std::int64_t length) {
  const auto& factors =
      length > options.original_max_positions ? options.long_factors : options.short_factors;
  std::vector<float> frequencies = powers(static_cast<float>(options.theta), options.dims);
  if (factors.size() != frequencies.size()) {
    throw Error(ErrorCode::format, "rope",
                "longrope has " + std::to_string(factors.size()) + " factors for " +
                    std::to_string(frequencies.size()) + " frequencies")
        .hint("short_factor and long_factor need half of the rotated size each");
  }
  for (std::size_t j = 0; j < frequencies.size(); ++j) {
    frequencies[j] = 1.0f / (static_cast<float>(factors[j]) * frequencies[j]);
  }
  return frequencies;
}

void check(const RopeOptions& options) {
  const auto fail = [](const std::string& what) { throw Error(ErrorCode::format, "rope", what); };
  if (options.dims <= 0 || options.dims % 2 != 0) {
    fail("it turns pairs, so its size must be even and positive, not " +
         std::to_string(options.dims));
  }
  if (!(options.theta > 0) || !std::isfinite(options.theta)) fail("theta must be above 0");
  if (!(options.factor > 0) || !std::isfinite(options.factor)) fail("factor must be above 0");
  const bool needs_original =
      options.scaling != RopeScaling::none && options.scaling != RopeScaling::linear;
  if (needs_original && options.original_max_positions <= 0) {
    fail("original_max_position_embeddings is missing");
  }
  if (options.scaling == RopeScaling::llama3 &&
      !(options.low_freq_factor > 0 && options.high_freq_factor > options.low_freq_factor)) {
    fail("llama3 needs 0 < low_freq_factor < high_freq_factor");
  }
  if (options.scaling == RopeScaling::yarn &&
      !(options.theta != 1.0 && options.beta_fast > 0 && options.beta_slow > 0)) {
    fail("yarn needs beta_fast and beta_slow above 0 and a theta that is not 1");
  }
}

double yarn_mscale(double scale, double mscale) {
  return scale <= 1.0 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

}  // namespace

std::vector<float> rope_frequencies(const RopeOptions& options, std::int64_t length) {
  check(options);
  const auto theta = static_cast<float>(options.theta);
  std::vector<float> frequencies;
  switch (options.scaling) {
    case RopeScaling::none: frequencies = inverse(powers(theta, options.dims)); break;
    case RopeScaling::linear:
      frequencies = inverse(powers(theta, options.dims));
      for (float& frequency : frequencies) frequency /= static_cast<float>(options.factor);
      break;
    case RopeScaling::dynamic:
      frequencies = inverse(powers(dynamic_base(options, length), options.dims));
      break;
    case RopeScaling::llama3:
      frequencies = inverse(powers(theta, options.dims));
      scale_llama3(options, frequencies);
      break;
    case RopeScaling::yarn: frequencies = yarn_frequencies(options); break;
    case RopeScaling::longrope: frequencies = longrope_frequencies(options, length); break;
  }
  if (!options.given_factors.empty()) {
    if (options.given_factors.size() != frequencies.size()) {
      throw Error(ErrorCode::format, "rope",
                  "the file gives " + std::to_string(options.given_factors.size()) +
                      " factors for " + std::to_string(frequencies.size()) + " frequencies");
    }
    for (std::size_t j = 0; j < frequencies.size(); ++j) frequencies[j] /= options.given_factors[j];
  }
  return frequencies;
}

float rope_attention_scale(const RopeOptions& options) {
  if (options.attention_factor != 0.0) return static_cast<float>(options.attention_factor);
  if (options.scaling != RopeScaling::yarn && options.scaling != RopeScaling::longrope) return 1.0f;
  if (options.scaling == RopeScaling::yarn) {
    if (options.mscale != 0.0 && options.mscale_all_dim != 0.0) {
      return static_cast<float>(yarn_mscale(options.factor, options.mscale) /
                                yarn_mscale(options.factor, options.mscale_all_dim));
    }
    return static_cast<float>(yarn_mscale(options.factor, 1.0));
  }
  if (options.factor <= 1.0 || options.original_max_positions <= 1) return 1.0f;
  return static_cast<float>(
      std::sqrt(1.0 + std::log(options.factor) /
                          std::log(static_cast<double>(options.original_max_positions))));
}

}  // namespace perilune
