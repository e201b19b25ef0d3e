// Sound files, read piece by piece as one channel at a chosen rate.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace perilune {

inline constexpr int kMostSoundChannels = 256;
inline constexpr int kLeastSoundRate = 1000;      // samples per second
inline constexpr int kMostSoundRate = 1'000'000;  // samples per second

/// What a file says of itself.
struct SoundInfo {
  int channels = 0;
  int rate = 0;             // samples per second
  std::int64_t frames = 0;  // samples of one channel; 0 where only reading to the end tells
  std::string format;       // "WAV, 16 bit PCM", as libsndfile names it
};

struct SoundReading {
  int rate = 16000;     // of what read() gives
  bool follow = false;  // the file may be growing: its end is looked for again at every read
};

/// WAV, FLAC, OGG and what else libsndfile reads. Channels are averaged; another rate goes through
/// a windowed sinc of 20 bits (libsoxr). Nothing is ever made as large as a file claims to be.
class SoundReader {
 public:
  /// `path` may be a pipe ("/dev/stdin"), of WAV only. Throws Error(file) where it cannot be
  /// opened, Error(format) where it is no sound, Error(unsupported) for rates and channels out of
  /// range or a build without the libraries.
  static std::unique_ptr<SoundReader> open(const std::string& path, const SoundReading& reading);
  virtual ~SoundReader() = default;

  virtual const SoundInfo& info() const = 0;
  /// The next samples, at most `most`, in about [-1, 1]; none at the end. Throws Error(format) for
  /// a sample that is not finite, Error(file) where reading fails.
  virtual std::vector<float> read(std::size_t most) = 0;
};

/// Samples at another rate, through the same filter. Throws Error(option) for rates out of range.
std::vector<float> resample(const std::vector<float>& samples, int from, int to);

enum class SoundStore { pcm16, f32 };

/// One channel as a WAV or FLAC file (by the path's end), through a temporary file. Samples beyond
/// [-1, 1] are clipped in pcm16. Throws Error(file), Error(unsupported).
void write_sound(const std::string& path, const std::vector<float>& samples, int rate,
                 SoundStore store);

}  // namespace perilune
