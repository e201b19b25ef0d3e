// Pictures in another size.
#pragma once

#include <string>

#include "engine/images/image.h"

namespace perilune {

/// What a pixel of the new picture is made of. All but nearest are widened by the scale where the
/// picture becomes smaller (antialiased).
enum class ResizeFilter { nearest, box, bilinear, hamming, bicubic, lanczos };

/// "bicubic"; throws Error(argument) for other words.
ResizeFilter resize_filter(const std::string& name);

/// The picture in `height` by `width` pixels, as Pillow makes it: along lines and then along
/// columns, weights in fixed point of 22 bits, each pass rounded to bytes. Sizes must pass
/// check_image_size.
Image resized(const Image& image, std::int64_t height, std::int64_t width, ResizeFilter filter);

}  // namespace perilune
