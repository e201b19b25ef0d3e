// Any bytes are a picture or one Error: PNG files, and files that begin like one.
#include "tests/fuzz/fuzz_picture.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return perilune::fuzz_picture(perilune::read_png, "fuzz.png", data, size);
}
