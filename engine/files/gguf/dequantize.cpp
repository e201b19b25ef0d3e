#include "engine/files/gguf/dequantize.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "engine/base/error.h"
#include "engine/files/gguf/blocks.h"
#include "kernels/coding.h"

namespace perilune {
namespace {

struct Decoder {
  std::string_view type;
  gguf_blocks::Decode decode;
};

/// Types that products do not know: these are only read as numbers.
constexpr Decoder kDecoders[] = {
    {"Q8_1", gguf_blocks::q8_1},       {"Q8_K", gguf_blocks::q8_k},
    {"IQ1_S", gguf_blocks::iq1_s},     {"IQ1_M", gguf_blocks::iq1_m},
    {"IQ2_XXS", gguf_blocks::iq2_xxs}, {"IQ2_XS", gguf_blocks::iq2_xs},
    {"IQ2_S", gguf_blocks::iq2_s},     {"IQ3_XXS", gguf_blocks::iq3_xxs},
    {"IQ3_S", gguf_blocks::iq3_s},     {"TQ1_0", gguf_blocks::tq1_0},
    {"TQ2_0", gguf_blocks::tq2_0},     {"NVFP4", gguf_blocks::nvfp4},
    {"Q1_0", gguf_blocks::q1_0},
};

const Decoder* find_decoder(const GgufTensorType& type) {
  const auto* found =
      std::find_if(std::begin(kDecoders), std::end(kDecoders),
                   [&](const Decoder& decoder) { return decoder.type == type.name; });
  return found == std::end(kDecoders) ? nullptr : found;
}

}  // namespace

bool is_quantized(const GgufTensorType& type) {
  return kernels::find_block_format(type.name) != nullptr || find_decoder(type) != nullptr;
}

void dequantize(const GgufTensorType& type, const void* blocks, std::size_t count, float* to) {
  const auto* from = static_cast<const std::uint8_t*>(blocks);
  if (const kernels::BlockFormat* format = kernels::find_block_format(type.name)) {
    for (std::size_t i = 0; i < count; ++i, from += type.bytes, to += type.block) {
      kernels::read_block_values(*format, from, to);
    }
    return;
  }
  const Decoder* decoder = find_decoder(type);
  if (decoder == nullptr) {
    throw Error(ErrorCode::internal, "load",
                std::string("type ") + type.name + " is not quantized");
  }
  for (std::size_t i = 0; i < count; ++i, from += type.bytes, to += type.block) {
    decoder->decode(from, to);
  }
}

}  // namespace perilune
