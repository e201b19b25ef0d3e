// When each token was said, from how the decoder looked at the sound.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace perilune {

/// Attention of some heads, [head, token, frame]; rows need not sum to 1.
struct HeadAttention {
  std::span<const float> values;
  std::int64_t heads = 0, tokens = 0, frames = 0;
};

/// The frame at which each of the tokens [first, first + count) begins. Attention is made
/// comparable (each row sums to 1; each frame's mean over all tokens is 0 and its deviation 1),
/// smoothed by a median over `width` frames (odd), averaged over heads; the path through these
/// tokens that goes forward in both and looks most is the alignment (dynamic time warping;
/// openai/whisper, timing.py). Throws Error(argument) for sizes that do not fit.
std::vector<std::int64_t> align_tokens(const HeadAttention& attention, std::int64_t first,
                                       std::int64_t count, std::int64_t width);

}  // namespace perilune
