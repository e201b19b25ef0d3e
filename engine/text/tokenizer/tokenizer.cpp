#include "engine/text/tokenizer/tokenizer.h"

namespace perilune {

std::string Tokenizer::decode(std::span<const std::int32_t> ids,
                              const DecodeOptions& options) const {
  const std::unique_ptr<StreamDecoder> stream = decoder(options);
  std::string text;
  for (const std::int32_t id : ids) text += stream->push(id);
  return text += stream->flush();
}

}  // namespace perilune
