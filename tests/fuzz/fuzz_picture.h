// Any bytes are a picture of bounded size, or one Error; a small one can be resized.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/error.h"
#include "engine/images/resize.h"

namespace perilune {

/// `read` takes the bytes of a file and its name.
template <class Read>
int fuzz_picture(Read read, const char* name, const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const Image image = read(bytes, name);
    const auto expected = static_cast<std::size_t>(image.height * image.line_bytes());
    if (image.pixels.size() != expected || image.height * image.width > kMostPixels) {
      __builtin_trap();
    }
    if (image.height * image.width < 4096) {
      resized(image, 1 + static_cast<std::int64_t>(size % 9), 7,
              static_cast<ResizeFilter>(size % 6));
    }
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace perilune
