// Any bytes are a picture of bounded size, or one Error: JPEG files, and their Exif orientation.
#include <cstdint>
#include <string_view>

#include "engine/base/error.h"
#include "engine/images/resize.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const perilune::Image image = perilune::read_jpeg(bytes, "fuzz.jpg");
    const auto expected = static_cast<std::size_t>(image.height * image.line_bytes());
    if (image.pixels.size() != expected || image.height * image.width > perilune::kMostPixels) {
      __builtin_trap();
    }
    if (image.height * image.width < 4096) {
      perilune::resized(image, 1 + static_cast<std::int64_t>(size % 9), 7,
                        static_cast<perilune::ResizeFilter>(size % 6));
    }
  } catch (const perilune::Error&) {
  }
  return 0;
}
