// Rotary position options as published configs state them, and the frequencies they mean.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace perilune {

enum class RopeScaling { none, linear, dynamic, llama3, yarn, longrope };

/// Sources: linear, dynamic: the published implementation's `rope_type`s; yarn: Peng et al. 2023,
/// arXiv:2309.00071; llama3: Llama 3.1's config; longrope: Ding et al. 2024, arXiv:2402.13753.
struct RopeOptions {
  double theta = 10000.0;
  std::int64_t dims = 0;  // how many of head_dim turn (partial rotary)
  bool interleaved = false;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1.0;
  std::int64_t original_max_positions =
      0;  // yarn, llama3, longrope; dynamic: max_position_embeddings
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn
  double attention_factor = 0.0;                         // 0: the type's own formula
  double mscale = 0.0, mscale_all_dim = 0.0;             // yarn
  bool truncate = true;                                  // yarn
  double extrapolation = 1.0;                            // yarn: share of what is kept (ggml's)
  std::vector<double> short_factors, long_factors;       // longrope
  std::vector<float> given_factors;                      // divide the frequencies (a tensor's)

  bool depends_on_length() const {
    return scaling == RopeScaling::dynamic || scaling == RopeScaling::longrope;
  }
};

/// inverse frequencies [dims / 2] for a sequence of `length` tokens (ignored unless the type
/// depends on it), computed in the published implementation's order and precision.
std::vector<float> rope_frequencies(const RopeOptions& options, std::int64_t length);
/// What cos and sin are multiplied by.
float rope_attention_scale(const RopeOptions& options);

}  // namespace perilune
