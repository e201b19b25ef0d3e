// x_t = |FFT(hann * s[160 t - 200 ... 160 t + 199])|^2;  m = log10(max(bands x, 1e-10));
// features = (max(m, max(m) - 8) + 4) / 4.
#include "engine/sound/log_mel.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <string>

#include "engine/base/error.h"
#ifdef PERILUNE_SOUND
#include <kiss_fftr.h>
#endif

namespace perilune {

namespace {

constexpr int kBins = LogMel::kWindow / 2 + 1;
constexpr int kHalf = LogMel::kWindow / 2;

// Slaney's scale: linear to 1000 Hz (15 mels), then 27 mels for every factor of 6.4.
constexpr double kHertzPerMel = 200.0 / 3, kFirstLogMel = 15, kFirstLogHertz = 1000;
const double kLogStep = std::log(6.4) / 27;

double mel_of(double hertz) {
  if (hertz < kFirstLogHertz) return hertz / kHertzPerMel;
  return kFirstLogMel + std::log(hertz / kFirstLogHertz) / kLogStep;
}

double hertz_of(double mel) {
  if (mel < kFirstLogMel) return mel * kHertzPerMel;
  return kFirstLogHertz * std::exp(kLogStep * (mel - kFirstLogMel));
}

}  // namespace

std::vector<float> mel_bands(int mels) {
  const double most = mel_of(LogMel::kRate / 2.0);
  std::vector<double> edges(static_cast<std::size_t>(mels) + 2);
  for (std::size_t i = 0; i < edges.size(); ++i) {
    edges[i] = hertz_of(most * static_cast<double>(i) / (mels + 1));
  }
  std::vector<float> bands(static_cast<std::size_t>(mels) * kBins);
  for (std::size_t m = 0; m < static_cast<std::size_t>(mels); ++m) {
    const double area = 2 / (edges[m + 2] - edges[m]);
    for (int bin = 0; bin < kBins; ++bin) {
      const double hertz = bin * (LogMel::kRate / 2.0) / (kBins - 1);
      const double up = (hertz - edges[m]) / (edges[m + 1] - edges[m]);
      const double down = (edges[m + 2] - hertz) / (edges[m + 2] - edges[m + 1]);
      bands[m * kBins + static_cast<std::size_t>(bin)] =
          static_cast<float>(std::max(0.0, std::min(up, down)) * area);
    }
  }
  return bands;
}

#ifdef PERILUNE_SOUND

namespace {

/// The bins that a band takes anything of.
struct Span {
  int first = 0, end = 0;
};

struct Extractor {
  const std::vector<float>& samples;
  std::int64_t length;  // with the zeros after the samples
  int mels;
  std::vector<float> bands, window;
  std::vector<Span> spans;

  /// The sample at a place before the beginning or after the end too: the signal, mirrored there.
  float at(std::int64_t place) const {
    if (place < 0) place = -place;
    if (place >= length) place = 2 * (length - 1) - place;
    return place < static_cast<std::int64_t>(samples.size())
               ? samples[static_cast<std::size_t>(place)]
               : 0.0F;
  }
  void frame(std::int64_t t, kiss_fftr_cfg plan, float* out) const;
};

void Extractor::frame(std::int64_t t, kiss_fftr_cfg plan, float* out) const {
  float cut[LogMel::kWindow];
  kiss_fft_cpx spectrum[kBins];
  float power[kBins];
  for (int i = 0; i < LogMel::kWindow; ++i) {
    cut[i] = at(t * LogMel::kHop - kHalf + i) * window[static_cast<std::size_t>(i)];
  }
  kiss_fftr(plan, cut, spectrum);
  for (int bin = 0; bin < kBins; ++bin) {
    power[bin] = spectrum[bin].r * spectrum[bin].r + spectrum[bin].i * spectrum[bin].i;
  }
  for (int m = 0; m < mels; ++m) {
    const float* band = bands.data() + static_cast<std::ptrdiff_t>(m) * kBins;
    const Span span = spans[static_cast<std::size_t>(m)];
    float sum = 0;
    for (int bin = span.first; bin < span.end; ++bin) sum += band[bin] * power[bin];
    out[m] = std::log10(std::max(sum, 1e-10F));
  }
}

Extractor make_extractor(const std::vector<float>& samples, std::int64_t length, int mels) {
  Extractor made{samples, length, mels, mel_bands(mels), std::vector<float>(LogMel::kWindow), {}};
  for (int i = 0; i < LogMel::kWindow; ++i) {
    made.window[static_cast<std::size_t>(i)] =
        static_cast<float>(0.5 - 0.5 * std::cos(2 * std::numbers::pi * i / LogMel::kWindow));
  }
  for (int m = 0; m < mels; ++m) {
    const float* band = made.bands.data() + static_cast<std::ptrdiff_t>(m) * kBins;
    Span span{kBins, 0};
    for (int bin = 0; bin < kBins; ++bin) {
      if (band[bin] > 0) span = {std::min(span.first, bin), bin + 1};
    }
    made.spans.push_back(span);
  }
  return made;
}

struct FreePlan {
  void operator()(kiss_fftr_state* plan) const { kiss_fftr_free(plan); }
};

/// All frames, a range of them to each task, which has a plan of its own: kissfft's are written to.
void run_frames(const Extractor& extractor, std::int64_t frames, float* out,
                const kernels::Parallel& parallel) {
  const std::int64_t tasks =
      parallel.run == nullptr ? 1 : std::clamp<std::int64_t>(frames / 64, 1, parallel.threads);
  std::vector<std::unique_ptr<kiss_fftr_state, FreePlan>> plans;
  for (std::int64_t i = 0; i < tasks; ++i) {
    plans.emplace_back(kiss_fftr_alloc(LogMel::kWindow, 0, nullptr, nullptr));
    if (!plans.back()) throw Error(ErrorCode::memory, "log_mel", "no memory for a transform");
  }
  const auto task = [&](std::int64_t index) {
    for (std::int64_t t = frames * index / tasks; t < frames * (index + 1) / tasks; ++t) {
      extractor.frame(t, plans[static_cast<std::size_t>(index)].get(), out + t * extractor.mels);
    }
  };
  if (tasks == 1) return task(0);
  parallel.run(
      parallel.host, tasks,
      [](void* state, std::int64_t index) { (*static_cast<decltype(task)*>(state))(index); },
      const_cast<void*>(static_cast<const void*>(&task)));
}

}  // namespace

std::vector<float> log_mel(const std::vector<float>& samples, int mels, std::int64_t frames,
                           const kernels::Parallel& parallel) {
  if (mels < 1 || mels > LogMel::kMostMels) {
    throw Error(ErrorCode::option, "log_mel",
                "option mels: " + std::to_string(mels) + " is not from 1 to " +
                    std::to_string(LogMel::kMostMels));
  }
  const auto count = static_cast<std::int64_t>(samples.size());
  const std::int64_t length = frames > 0 ? frames * LogMel::kHop : count;
  if (count > length) {
    throw Error(ErrorCode::length, "log_mel",
                std::to_string(count) + " samples are more than " + std::to_string(frames) +
                    " frames hold (" + std::to_string(length) + ")")
        .hint("cut them into windows");
  }
  if (length <= kHalf) {
    throw Error(ErrorCode::argument, "log_mel",
                std::to_string(length) +
                    " samples are too few: a frame is mirrored at its ends, "
                    "which takes 201 or more")
        .hint("give frames=, which puts zeros after them");
  }
  frames = length / LogMel::kHop;
  std::vector<float> out(static_cast<std::size_t>(frames) * static_cast<std::size_t>(mels));
  run_frames(make_extractor(samples, length, mels), frames, out.data(), parallel);
  const auto largest = std::max_element(out.begin(), out.end());
  const float floor = largest == out.end() ? 0 : *largest - 8;
  for (float& value : out) value = (std::max(value, floor) + 4) / 4;
  return out;
}

#else

std::vector<float> log_mel(const std::vector<float>&, int, std::int64_t, const kernels::Parallel&) {
  throw Error(ErrorCode::unsupported, "log_mel", "this build has no Fourier transform")
      .hint("install libsndfile1-dev, libsoxr-dev and libkissfft-dev and build again");
}

#endif

}  // namespace perilune
