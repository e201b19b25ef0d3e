// A picture in memory, and what reads one from a file's bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace perilune {

/// u8 [height, width, 3]: red, green, blue; from the top left corner, line by line.
struct Image {
  std::int64_t height = 0, width = 0;
  std::vector<std::uint8_t> pixels;

  std::int64_t line_bytes() const { return width * 3; }
};

/// The most pixels that a picture may have: what a file claims is held against it before memory is
/// taken.
inline constexpr std::int64_t kMostPixels = std::int64_t{1} << 27;
inline constexpr std::int64_t kMostSide = 65535;

/// The picture of a PNG or JPEG file's bytes, by what they begin with. Grey becomes three equal
/// channels, transparency is left out, 16 bits become the upper 8, CMYK is turned into RGB; a JPEG
/// file is turned as its Exif orientation says. `name` is for messages. Throws Error(format) for
/// bytes that are damaged, cut off or of another kind, Error(memory) for too many pixels.
Image read_image(std::string_view bytes, const std::string& name);
Image read_png(std::string_view bytes, const std::string& name);
Image read_jpeg(std::string_view bytes, const std::string& name);

/// Throws Error(format | memory) unless a file may have these sizes.
void check_image_size(std::int64_t height, std::int64_t width, const std::string& name);

}  // namespace perilune
