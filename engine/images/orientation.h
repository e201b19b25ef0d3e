// How a camera was held: Exif's orientation, and pictures turned by it.
#pragma once

#include <string_view>

#include "engine/images/image.h"

namespace perilune {

/// The orientation, 1 to 8, that an APP1 segment's bytes ("Exif\0\0" and a TIFF header) say; 0
/// where they say none or are damaged.
int exif_orientation(std::string_view segment);

/// The picture upright: 1 as it is, 3 turned by half, 6 and 8 by a quarter, 2, 4, 5 and 7 mirrored
/// as well.
Image oriented(Image image, int orientation);

}  // namespace perilune
