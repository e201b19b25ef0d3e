// Any bytes are a picture or one Error: JPEG files, and their Exif orientation.
#include "tests/fuzz/fuzz_picture.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return perilune::fuzz_picture(perilune::read_jpeg, "fuzz.jpg", data, size);
}
