// The features that Whisper hears: logarithms of mel bands (Radford et al. 2022, section 2.2).
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernel_table.h"

namespace perilune {

/// The published WhisperFeatureExtractor's.
struct LogMel {
  static constexpr int kRate = 16000;    // samples per second
  static constexpr int kWindow = 400;    // samples of one Fourier transform
  static constexpr int kHop = 160;       // samples from one frame to the next
  static constexpr int kMostMels = 256;  // bands
};

/// Slaney's mel bands, each of unit area, 0 to 8000 Hz: [mel, bin], 201 bins a band.
std::vector<float> mel_bands(int mels);

/// [frame, mel] of 16 kHz samples that zeros make `frames` * 160 long (0: as they are, rounded down
/// to whole frames). A periodic Hann window around every 160th sample, mirrored at both ends;
/// power; bands; log10 of at least 1e-10; at most 8 below the largest; (x + 4) / 4.
/// Throws Error(argument) where samples are too few (201) or more than `frames` hold.
std::vector<float> log_mel(const std::vector<float>& samples, int mels, std::int64_t frames,
                           const kernels::Parallel& parallel);

}  // namespace perilune
