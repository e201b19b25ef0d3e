// Sound files through libsndfile, rates through libsoxr.
#include "engine/sound/sound_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>

#include "engine/base/error.h"
#include "engine/base/file.h"
#ifdef PERILUNE_SOUND
#include <dlfcn.h>
#include <sndfile.h>
#include <soxr.h>
#endif

namespace perilune {

#ifdef PERILUNE_SOUND

namespace {

constexpr const char* kOp = "sound";
constexpr std::size_t kFramesAtOnce = 4096;
// Sound lies from -1 to 1, in some files as whole numbers. Far above, powers would not be finite.
constexpr float kLargestSample = 1e9F;

// soxr brings OpenMP's library, which keeps what it took when it is unloaded with a library of
// ours: it stays loaded.
[[maybe_unused]] const void* const kOpenMp =
    dlopen("libgomp.so.1", RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);

struct CloseFile {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using File = std::unique_ptr<SNDFILE, CloseFile>;

struct FreeConverter {
  void operator()(soxr_t state) const { soxr_delete(state); }
};

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '.' || text.back() == '\n' || text.back() == ' ')) {
    text.pop_back();
  }
  return text;
}

std::string format_name(int format) {
  const auto name = [](int command, int code) -> std::string {
    SF_FORMAT_INFO info{};
    info.format = code;
    if (sf_command(nullptr, command, &info, sizeof info) != 0 || info.name == nullptr) return "?";
    return info.name;
  };
  std::string kind = name(SFC_GET_FORMAT_INFO, format & SF_FORMAT_TYPEMASK);
  return kind.substr(0, kind.find(" (")) + ", " +
         name(SFC_GET_FORMAT_INFO, format & SF_FORMAT_SUBMASK);
}

void check_rate(int rate, const char* what, const std::string& op, ErrorCode code) {
  if (rate >= kLeastSoundRate && rate <= kMostSoundRate) return;
  throw Error(code, op,
              std::string(what) + std::to_string(rate) + " samples a second is not from " +
                  std::to_string(kLeastSoundRate) + " to " + std::to_string(kMostSoundRate));
}

/// Feeds blocks of one rate through the filter and collects what comes out.
class Converter {
 public:
  Converter(int from, int to) {
    if (from == to) return;
    soxr_error_t problem = nullptr;
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    state_.reset(soxr_create(from, to, 1, &problem, nullptr, &quality, nullptr));
    if (!state_) throw Error(ErrorCode::unsupported, "resample", soxr_strerror(problem));
  }

  /// Adds what `block` becomes to `out`; `last` asks for what the filter still holds.
  void convert(const float* block, std::size_t count, bool last, std::vector<float>& out) {
    if (!state_) {
      out.insert(out.end(), block, block + count);
      return;
    }
    while (count > 0) {
      std::size_t used = 0;
      step(block, count, &used, out);
      block += used;
      count -= used;
    }
    while (last && step(nullptr, 0, nullptr, out) > 0) {
    }
  }

 private:
  std::size_t step(const float* block, std::size_t count, std::size_t* used,
                   std::vector<float>& out) {
    float made[kFramesAtOnce];
    std::size_t got = 0;
    if (const soxr_error_t problem =
            soxr_process(state_.get(), block, count, used, made, kFramesAtOnce, &got)) {
      throw Error(ErrorCode::internal, "resample", soxr_strerror(problem));
    }
    out.insert(out.end(), made, made + got);
    return got;
  }

  std::unique_ptr<soxr, FreeConverter> state_;
};

class FileReader final : public SoundReader {
 public:
  FileReader(const std::string& path, const SoundReading& reading)
      : path_(path), reading_(reading) {
    check_rate(reading.rate, "option rate: ", kOp, ErrorCode::option);
    open_file();
    converter_ = std::make_unique<Converter>(info_.rate, reading.rate);
  }

  const SoundInfo& info() const override { return info_; }
  std::vector<float> read(std::size_t most) override;

 private:
  void open_file();
  /// The next frames, averaged; fewer at the end.
  std::size_t read_block(std::vector<float>& block);
  /// Opens a file that has grown again, where it was left. False where there is no more.
  bool look_again();

  std::string path_;
  SoundReading reading_;
  File file_;
  SoundInfo info_;
  std::int64_t taken_ = 0;  // frames of the file
  std::unique_ptr<Converter> converter_;
  std::vector<float> interleaved_, waiting_;  // `waiting_`: converted, not yet asked for
  std::size_t given_ = 0;                     // of waiting_
  bool ended_ = false, pipe_ = false;
};

void FileReader::open_file() {
  const int number = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (number < 0) throw Error(ErrorCode::file, kOp, path_ + ": " + reason_of(errno));
  struct stat status {};
  const bool known = ::fstat(number, &status) == 0;
  if (known && S_ISDIR(status.st_mode)) {
    ::close(number);
    throw Error(ErrorCode::file, kOp, path_ + ": is a folder");
  }
  pipe_ = known && !S_ISREG(status.st_mode);
  SF_INFO info{};
  file_.reset(sf_open_fd(number, SFM_READ, &info, SF_TRUE));
  if (!file_) {
    throw Error(ErrorCode::format, kOp,
                path_ + ": is no sound that can be read: " + trimmed(sf_strerror(nullptr)))
        .hint("WAV, FLAC and OGG are read, from a pipe WAV");
  }
  if (info.channels < 1 || info.channels > kMostSoundChannels) {
    throw Error(ErrorCode::unsupported, kOp,
                path_ + ": has " + std::to_string(info.channels) + " channels; 1 to " +
                    std::to_string(kMostSoundChannels) + " are read");
  }
  check_rate(info.samplerate, (path_ + ": ").c_str(), kOp, ErrorCode::unsupported);
  info_ = {info.channels, info.samplerate,
           pipe_ || info.frames >= SF_COUNT_MAX ? 0 : std::max<std::int64_t>(info.frames, 0),
           format_name(info.format)};
}

bool FileReader::look_again() {
  if (!reading_.follow || pipe_) return false;
  const SoundInfo before = info_;
  open_file();
  if (info_.channels != before.channels || info_.rate != before.rate) {
    throw Error(ErrorCode::format, kOp,
                path_ + ": was replaced by another sound while it was read");
  }
  return sf_seek(file_.get(), taken_, SEEK_SET) == taken_ && info_.frames > taken_;
}

std::size_t FileReader::read_block(std::vector<float>& block) {
  const auto channels = static_cast<std::size_t>(info_.channels);
  interleaved_.resize(kFramesAtOnce * channels);
  const sf_count_t got = sf_readf_float(file_.get(), interleaved_.data(), kFramesAtOnce);
  const auto frames = static_cast<std::size_t>(std::max<sf_count_t>(got, 0));
  block.resize(frames);
  for (std::size_t i = 0; i < frames; ++i) {
    float sum = 0;
    for (std::size_t c = 0; c < channels; ++c) sum += interleaved_[i * channels + c];
    block[i] = sum / static_cast<float>(info_.channels);
    if (!(std::fabs(block[i]) <= kLargestSample)) {
      throw Error(ErrorCode::format, kOp,
                  path_ + ": sample " + std::to_string(taken_ + static_cast<std::int64_t>(i) + 1) +
                      (std::isfinite(block[i]) ? " is above 1e9" : " is not a finite number"));
    }
  }
  taken_ += static_cast<std::int64_t>(frames);
  return frames;
}

std::vector<float> FileReader::read(std::size_t most) {
  std::vector<float> block;
  while (!ended_ && waiting_.size() - given_ < most) {
    const std::size_t frames = read_block(block);
    if (frames == 0 && look_again()) continue;
    ended_ = frames == 0 && !reading_.follow;
    if (ended_ || frames > 0) converter_->convert(block.data(), frames, ended_, waiting_);
    if (frames == 0) break;
  }
  const std::size_t count = std::min(most, waiting_.size() - given_);
  const auto first = waiting_.begin() + static_cast<std::ptrdiff_t>(given_);
  std::vector<float> out(first, first + static_cast<std::ptrdiff_t>(count));
  given_ += count;
  if (given_ == waiting_.size() || given_ > (std::size_t{1} << 16)) {
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(given_));
    given_ = 0;
  }
  return out;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

std::unique_ptr<SoundReader> SoundReader::open(const std::string& path,
                                               const SoundReading& reading) {
  return std::make_unique<FileReader>(path, reading);
}

std::vector<float> resample(const std::vector<float>& samples, int from, int to) {
  check_rate(from, "option from: ", "resample", ErrorCode::option);
  check_rate(to, "option to: ", "resample", ErrorCode::option);
  std::vector<float> out;
  Converter converter(from, to);
  converter.convert(samples.data(), samples.size(), true, out);
  return out;
}

void write_sound(const std::string& path, const std::vector<float>& samples, int rate,
                 SoundStore store) {
  constexpr const char* kWrite = "sound.write";
  check_rate(rate, "option rate: ", kWrite, ErrorCode::option);
  const bool flac = ends_with(path, ".flac");
  if (!flac && !ends_with(path, ".wav")) {
    throw Error(ErrorCode::unsupported, kWrite, path + ": its name ends neither in .wav nor .flac");
  }
  if (flac && store == SoundStore::f32) {
    throw Error(ErrorCode::unsupported, kWrite, "FLAC holds whole numbers; write a .wav");
  }
  SF_INFO info{};
  info.channels = 1;
  info.samplerate = rate;
  info.format = (flac ? SF_FORMAT_FLAC : SF_FORMAT_WAV) |
                (store == SoundStore::f32 ? SF_FORMAT_FLOAT : SF_FORMAT_PCM_16);
  const std::string pending = path + ".pending" + std::to_string(::getpid());
  {
    const File file(sf_open(pending.c_str(), SFM_WRITE, &info));
    if (!file) {
      throw Error(ErrorCode::file, kWrite, path + ": " + trimmed(sf_strerror(nullptr)));
    }
    sf_command(file.get(), SFC_SET_CLIPPING, nullptr, SF_TRUE);
    const auto count = static_cast<sf_count_t>(samples.size());
    if (sf_write_float(file.get(), samples.data(), count) != count) {
      const std::string reason = trimmed(sf_strerror(file.get()));
      std::remove(pending.c_str());
      throw Error(ErrorCode::file, kWrite, path + ": " + reason);
    }
  }
  if (std::rename(pending.c_str(), path.c_str()) == 0) return;
  const int reason = errno;
  std::remove(pending.c_str());
  throw Error(ErrorCode::file, kWrite, path + ": " + reason_of(reason));
}

#else

namespace {
[[noreturn]] void refuse(const char* op) {
  throw Error(ErrorCode::unsupported, op, "this build reads no sound files")
      .hint("install libsndfile1-dev, libsoxr-dev and libkissfft-dev and build again");
}
}  // namespace

std::unique_ptr<SoundReader> SoundReader::open(const std::string&, const SoundReading&) {
  refuse("sound");
}

std::vector<float> resample(const std::vector<float>&, int, int) {
  refuse("resample");
}

void write_sound(const std::string&, const std::vector<float>&, int, SoundStore) {
  refuse("sound.write");
}

#endif

}  // namespace perilune
