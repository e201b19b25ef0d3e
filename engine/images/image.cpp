#include "engine/images/image.h"

#include "engine/base/error.h"

namespace perilune {

void check_image_size(std::int64_t height, std::int64_t width, const std::string& name) {
  const std::string sizes = std::to_string(width) + " by " + std::to_string(height) + " pixels";
  if (height < 1 || width < 1) {
    throw Error(ErrorCode::format, "image", "a picture of " + sizes).where(name);
  }
  if (height > kMostSide || width > kMostSide || height * width > kMostPixels) {
    throw Error(ErrorCode::memory, "image", "a picture of " + sizes + " is too large")
        .where(name)
        .hint("at most " + std::to_string(kMostPixels) + " pixels, " + std::to_string(kMostSide) +
              " a side");
  }
}

Image read_image(std::string_view bytes, const std::string& name) {
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return read_png(bytes, name);
  if (bytes.starts_with("\xff\xd8\xff")) return read_jpeg(bytes, name);
  throw Error(ErrorCode::format, "image",
              bytes.empty() ? "the file is empty" : "neither a PNG nor a JPEG file")
      .where(name)
      .hint("convert it to one of the two");
}

}  // namespace perilune
