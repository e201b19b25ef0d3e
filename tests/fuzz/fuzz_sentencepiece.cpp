// Any bytes are a tokenizer that encodes and decodes, or one Error. The last bytes are the text.
#include <cstdint>
#include <string_view>

#include "engine/base/error.h"
#include "engine/text/sentencepiece/file.h"
#include "engine/text/tokenizer/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t text_size = size < 128 ? size / 2 : 64;
  try {
    perilune::SentencePieceTokenizer tokenizer(
        perilune::parse_sentencepiece(bytes.substr(0, size - text_size), "fuzz.model"),
        "fuzz.model");
    perilune::EncodeOptions options;
    options.tokens = true;
    const auto encoding = tokenizer.encode(bytes.substr(size - text_size), options);
    if (encoding.tokens.size() != encoding.ids.size()) __builtin_trap();
    if (!perilune::is_utf8(tokenizer.decode(encoding.ids))) __builtin_trap();
  } catch (const perilune::Error&) {
  }
  return 0;
}
