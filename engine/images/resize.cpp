#include "engine/images/resize.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/error.h"

namespace perilune {

namespace {

constexpr int kFractionBits = 22;

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= 3.14159265358979323846;
  return std::sin(x) / x;
}

/// The filter's weight at a distance of x pixels; 0 beyond its reach.
double weight_at(ResizeFilter filter, double x) {
  x = std::fabs(x);
  switch (filter) {
    case ResizeFilter::bilinear: return x < 1 ? 1 - x : 0;
    case ResizeFilter::hamming:
      return x < 1 ? sinc(x) * (0.54 + 0.46 * std::cos(3.14159265358979323846 * x)) : 0;
    case ResizeFilter::bicubic:  // Keys 1981, a = -1/2
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    case ResizeFilter::lanczos: return x < 3 ? sinc(x) * sinc(x / 3) : 0;
    default: return 0;
  }
}

/// A box reaches its left edge and not its right one.
double box_at(double x) {
  return x > -0.5 && x <= 0.5 ? 1 : 0;
}

double reach_of(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::box: return 0.5;
    case ResizeFilter::bicubic: return 2;
    case ResizeFilter::lanczos: return 3;
    default: return 1;
  }
}

/// What one new pixel reads: old pixels [first, first + weights), times weights in fixed point.
struct Taps {
  std::int64_t first = 0;
  std::vector<std::int32_t> weights;
};

std::vector<Taps> taps_of(std::int64_t from, std::int64_t to, ResizeFilter filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double widened = std::max(scale, 1.0), reach = reach_of(filter) * widened;
  std::vector<Taps> all(static_cast<std::size_t>(to));
  std::vector<double> weights;
  for (std::int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(center - reach + 0.5));
    const auto last = std::min(from, static_cast<std::int64_t>(center + reach + 0.5));
    weights.clear();
    double sum = 0;
    for (std::int64_t j = first; j < last; ++j) {
      const double x = (static_cast<double>(j) - center + 0.5) / widened;
      weights.push_back(filter == ResizeFilter::box ? box_at(x) : weight_at(filter, x));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<std::size_t>(i)];
    taps.first = first;
    for (const double weight : weights) {
      const double share = sum != 0 ? weight / sum : weight;
      taps.weights.push_back(
          static_cast<std::int32_t>(std::lround(share * static_cast<double>(1 << kFractionBits))));
    }
  }
  return all;
}

std::uint8_t rounded(std::int64_t sum) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> kFractionBits, 0, 255));
}

constexpr std::int64_t kHalf = std::int64_t{1} << (kFractionBits - 1);

Image resized_lines(const Image& image, std::int64_t width, ResizeFilter filter) {
  const std::vector<Taps> taps = taps_of(image.width, width, filter);
  Image out{image.height, width, {}};
  out.pixels.resize(static_cast<std::size_t>(out.height * out.line_bytes()));
  std::uint8_t* to = out.pixels.data();
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* line = image.pixels.data() + y * image.line_bytes();
    for (const Taps& tap : taps) {
      std::int64_t sums[3] = {kHalf, kHalf, kHalf};
      const std::uint8_t* from = line + tap.first * 3;
      for (const std::int32_t weight : tap.weights) {
        for (int c = 0; c < 3; ++c) sums[c] += std::int64_t{weight} * from[c];
        from += 3;
      }
      for (const std::int64_t sum : sums) *to++ = rounded(sum);
    }
  }
  return out;
}

Image resized_columns(const Image& image, std::int64_t height, ResizeFilter filter) {
  const std::vector<Taps> taps = taps_of(image.height, height, filter);
  Image out{height, image.width, {}};
  const std::int64_t line = image.line_bytes();
  out.pixels.resize(static_cast<std::size_t>(out.height * line));
  std::vector<std::int64_t> sums(static_cast<std::size_t>(line));
  std::uint8_t* to = out.pixels.data();
  for (const Taps& tap : taps) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const std::uint8_t* from = image.pixels.data() + tap.first * line;
    for (const std::int32_t weight : tap.weights) {
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += std::int64_t{weight} * from[i];
      from += line;
    }
    for (const std::int64_t sum : sums) *to++ = rounded(sum);
  }
  return out;
}

Image nearest_pixels(const Image& image, std::int64_t height, std::int64_t width) {
  Image out{height, width, {}};
  out.pixels.resize(static_cast<std::size_t>(height * out.line_bytes()));
  const auto at = [](std::int64_t i, std::int64_t to, std::int64_t from) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    return std::min(from - 1, static_cast<std::int64_t>((static_cast<double>(i) + 0.5) * scale));
  };
  std::uint8_t* to = out.pixels.data();
  for (std::int64_t y = 0; y < height; ++y) {
    const std::uint8_t* line =
        image.pixels.data() + at(y, height, image.height) * image.line_bytes();
    for (std::int64_t x = 0; x < width; ++x) {
      const std::uint8_t* from = line + at(x, width, image.width) * 3;
      for (int c = 0; c < 3; ++c) *to++ = from[c];
    }
  }
  return out;
}

}  // namespace

ResizeFilter resize_filter(const std::string& name) {
  constexpr std::pair<const char*, ResizeFilter> kNames[] = {
      {"nearest", ResizeFilter::nearest},   {"box", ResizeFilter::box},
      {"bilinear", ResizeFilter::bilinear}, {"hamming", ResizeFilter::hamming},
      {"bicubic", ResizeFilter::bicubic},   {"lanczos", ResizeFilter::lanczos}};
  std::vector<std::string> known;
  for (const auto& [word, filter] : kNames) {
    if (name == word) return filter;
    known.emplace_back(word);
  }
  Error error(ErrorCode::argument, "resize", "filter \"" + name + "\" is not known");
  const std::string guess = did_you_mean(name, known);
  throw error.hint(guess.empty() ? "nearest, box, bilinear, hamming, bicubic or lanczos" : guess);
}

Image resized(const Image& image, std::int64_t height, std::int64_t width, ResizeFilter filter) {
  check_image_size(height, width, "resize");
  if (filter == ResizeFilter::nearest) return nearest_pixels(image, height, width);
  Image wide = width == image.width ? image : resized_lines(image, width, filter);
  return height == image.height ? wide : resized_columns(wide, height, filter);
}

}  // namespace perilune
