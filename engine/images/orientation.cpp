#include "engine/images/orientation.h"

#include <cstddef>
#include <optional>

namespace perilune {

namespace {

/// Numbers of a TIFF header, in its own order of bytes.
struct TiffBytes {
  std::string_view bytes;
  bool little = true;

  std::optional<std::uint32_t> number(std::size_t at, std::size_t count) const {
    if (at > bytes.size() || bytes.size() - at < count) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = little ? count - 1 - i : i;
      value = value << 8 | static_cast<std::uint8_t>(bytes[at + place]);
    }
    return value;
  }
};

constexpr std::uint32_t kOrientationTag = 0x112;

}  // namespace

int exif_orientation(std::string_view segment) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  if (!segment.starts_with(kExif)) return 0;
  TiffBytes tiff{segment.substr(kExif.size())};
  if (!tiff.bytes.starts_with("II") && !tiff.bytes.starts_with("MM")) return 0;
  tiff.little = tiff.bytes.starts_with("II");
  const auto directory = tiff.number(4, 4);
  const auto entries = directory ? tiff.number(*directory, 2) : std::nullopt;
  if (!entries) return 0;
  for (std::uint32_t i = 0; i < *entries; ++i) {
    const std::size_t entry = std::size_t{*directory} + 2 + std::size_t{i} * 12;
    const auto tag = tiff.number(entry, 2);
    if (!tag) return 0;
    if (*tag != kOrientationTag) continue;
    const auto value = tiff.number(entry + 8, 2);
    return value && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 0;
  }
  return 0;
}

Image oriented(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool turned = orientation >= 5;
  // Whether lines of the stored picture run from the right, and columns from the bottom.
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image upright;
  upright.height = turned ? image.width : image.height;
  upright.width = turned ? image.height : image.width;
  upright.pixels.resize(image.pixels.size());
  std::uint8_t* to = upright.pixels.data();
  for (std::int64_t y = 0; y < upright.height; ++y) {
    for (std::int64_t x = 0; x < upright.width; ++x) {
      std::int64_t line = turned ? x : y, column = turned ? y : x;
      if (from_bottom) line = image.height - 1 - line;
      if (from_right) column = image.width - 1 - column;
      const std::uint8_t* from = image.pixels.data() + line * image.line_bytes() + column * 3;
      for (int c = 0; c < 3; ++c) *to++ = from[c];
    }
  }
  return upright;
}

}  // namespace perilune
