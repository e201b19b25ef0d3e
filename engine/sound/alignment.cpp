#include "engine/sound/alignment.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "engine/base/error.h"

namespace perilune {

namespace {

constexpr std::int64_t kMostCells = std::int64_t{1} << 26;
constexpr std::int64_t kMostWidth = 99;

/// Rows sum to 1; then each column has mean 0 and deviation 1.
void standardize(float* a, std::int64_t tokens, std::int64_t frames) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    double sum = 0;
    for (std::int64_t f = 0; f < frames; ++f) sum += a[t * frames + f];
    if (!(sum > 0)) continue;
    for (std::int64_t f = 0; f < frames; ++f) a[t * frames + f] /= static_cast<float>(sum);
  }
  for (std::int64_t f = 0; f < frames; ++f) {
    double sum = 0, squares = 0;
    for (std::int64_t t = 0; t < tokens; ++t) sum += a[t * frames + f];
    const double mean = sum / static_cast<double>(tokens);
    for (std::int64_t t = 0; t < tokens; ++t) {
      squares += (a[t * frames + f] - mean) * (a[t * frames + f] - mean);
    }
    const double deviation = std::sqrt(squares / static_cast<double>(tokens));
    for (std::int64_t t = 0; t < tokens; ++t) {
      float& value = a[t * frames + f];
      value = deviation > 0 ? static_cast<float>((value - mean) / deviation) : 0.0F;
    }
  }
}

/// Adds the medians of a row, mirrored at its ends, to `sum`.
void add_medians(const float* row, std::int64_t frames, std::int64_t width, float* sum) {
  float window[kMostWidth];
  const std::int64_t half = std::min(width / 2, frames - 1);
  for (std::int64_t f = 0; f < frames; ++f) {
    std::int64_t count = 0;
    for (std::int64_t i = f - half; i <= f + half; ++i) {
      const std::int64_t place = i < 0 ? -i : i >= frames ? 2 * (frames - 1) - i : i;
      window[count++] = row[place];
    }
    std::nth_element(window, window + half, window + count);
    sum[f] += window[half];
  }
}

/// The frame at which the cheapest path first reaches each token; cost = -score.
std::vector<std::int64_t> warp(const std::vector<float>& score, std::int64_t tokens,
                               std::int64_t frames) {
  const std::int64_t stride = frames + 1;
  const auto cells = static_cast<std::size_t>((tokens + 1) * stride);
  std::vector<float> cost(cells, std::numeric_limits<float>::infinity());
  std::vector<std::uint8_t> from(cells, 0);  // 0: both back, 1: one token, 2: one frame
  cost[0] = 0;
  for (std::int64_t t = 1; t <= tokens; ++t) {
    for (std::int64_t f = 1; f <= frames; ++f) {
      const auto here = static_cast<std::size_t>(t * stride + f);
      const float both = cost[here - static_cast<std::size_t>(stride) - 1];
      const float token = cost[here - static_cast<std::size_t>(stride)];
      const float frame = cost[here - 1];
      from[here] = both < token && both < frame ? 0 : token < both && token < frame ? 1 : 2;
      const float least = from[here] == 0 ? both : from[here] == 1 ? token : frame;
      cost[here] = least - score[static_cast<std::size_t>((t - 1) * frames + f - 1)];
    }
  }
  std::vector<std::int64_t> begins(static_cast<std::size_t>(tokens), 0);
  std::int64_t t = tokens, f = frames;
  while (t > 0 && f > 0) {
    begins[static_cast<std::size_t>(t - 1)] = f - 1;
    const std::uint8_t step = from[static_cast<std::size_t>(t * stride + f)];
    if (step != 2) --t;
    if (step != 1) --f;
  }
  return begins;
}

}  // namespace

std::vector<std::int64_t> align_tokens(const HeadAttention& attention, std::int64_t first,
                                       std::int64_t count, std::int64_t width) {
  const auto [values, heads, tokens, frames] = attention;
  const bool fits = heads > 0 && tokens > 0 && frames > 0 && width > 0 && width % 2 == 1 &&
                    width <= kMostWidth && tokens <= kMostCells / frames &&
                    heads <= kMostCells / (tokens * frames) && first >= 0 && count > 0 &&
                    count <= tokens - first &&
                    values.size() == static_cast<std::size_t>(heads * tokens * frames);
  if (!fits) {
    throw Error(ErrorCode::argument, "align",
                "expected attention [head, token, frame] with something in each, tokens of it, and "
                "an odd width of at most " +
                    std::to_string(kMostWidth));
  }
  std::vector<float> score(static_cast<std::size_t>(count * frames), 0.0F);
  std::vector<float> one;
  for (std::int64_t head = 0; head < heads; ++head) {
    const auto part = values.subspan(static_cast<std::size_t>(head * tokens * frames),
                                     static_cast<std::size_t>(tokens * frames));
    one.assign(part.begin(), part.end());
    standardize(one.data(), tokens, frames);
    for (std::int64_t t = 0; t < count; ++t) {
      add_medians(one.data() + (first + t) * frames, frames, width, score.data() + t * frames);
    }
  }
  for (float& value : score) value /= static_cast<float>(heads);
  return warp(score, count, frames);
}

}  // namespace perilune
