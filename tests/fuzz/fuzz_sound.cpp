// Any bytes are a sound that ends or one Error: as a file, read in pieces, at another rate.
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "engine/base/error.h"
#include "engine/sound/log_mel.h"
#include "engine/sound/sound_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int file = ::memfd_create("sound", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) {
    __builtin_trap();
  }
  try {
    const auto reader = perilune::SoundReader::open(path, {});
    std::vector<float> heard;
    for (;;) {
      const auto part = reader->read(5000);
      if (part.empty() || heard.size() > 400'000) break;
      heard.insert(heard.end(), part.begin(), part.end());
    }
    if (heard.size() < 201) return 0;
    heard.resize(std::min<std::size_t>(heard.size(), 16000));
    for (const float value : perilune::log_mel(heard, 8, 0, {})) {
      if (std::isnan(value)) __builtin_trap();
    }
  } catch (const perilune::Error&) {
  }
  return 0;
}
