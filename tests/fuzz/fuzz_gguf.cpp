// Any bytes are a GGUF file whose tensors lie inside it, or one Error; so is the tokenizer in it.
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/error.h"
#include "engine/files/gguf/head.h"
#include "engine/text/readers/gguf.h"

namespace {

using perilune::GgufFile;

void check(bool holds) {
  if (!holds) __builtin_trap();
}

template <typename Function>
void try_to(Function function) {
  try {
    function();
  } catch (const perilune::Error&) {
  }
}

void ask_everything(const GgufFile& file) {
  for (const std::string& key : file.keys()) {
    check(!file.describe(key).empty());
    try_to([&] { file.integer(key); });
    try_to([&] { file.number(key); });
    try_to([&] { file.boolean(key); });
    try_to([&] { file.string(key); });
    try_to([&] { file.strings(key); });
    try_to([&] { file.integers(key); });
    try_to([&] { file.numbers(key); });
    try_to([&] { file.bytes(key); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try_to([&] {
    const auto file = GgufFile::parse(bytes, "fuzz.gguf");
    ask_everything(*file);
    for (const perilune::GgufTensor& tensor : file->tensors()) {
      check(tensor.begin <= tensor.end && tensor.end <= size);
      check(!perilune::describe(tensor).empty());
      std::vector<char> values(tensor.end - tensor.begin);
      if (tensor.type != nullptr) file->read(tensor, 0, values.size(), values.data());
    }
    const auto tokenizer = perilune::read_gguf_tokenizer(*file);
    if (tokenizer == nullptr) return;
    perilune::EncodeOptions options;
    options.tokens = true;
    const auto encoding = tokenizer->encode(bytes.substr(size - size / 8), options);
    check(encoding.tokens.size() == encoding.ids.size());
    check(perilune::is_utf8(tokenizer->decode(encoding.ids)));
  });
  return 0;
}
