// Any bytes are a tokenizer.json that encodes and decodes, or one Error.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/error.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/pipeline.h"

namespace {

const std::string_view kText =
    "Hello,  World! It's 12,345.67\tcaf\xC3\xA9 cafe\xCC\x81 \xE7\x8C\xAB\xE7\x8C\xAB\n\n"
    "<s> [MASK] \xF0\x9F\x98\x80\xE2\x80\x8D\xEF\xB7\xBA \xFF ";

// A file that is only in memory.
struct MemoryFile {
  int number = ::memfd_create("tokenizer.json", MFD_CLOEXEC);
  std::string path = "/proc/self/fd/" + std::to_string(number);
  void write(const std::uint8_t* data, std::size_t size) const {
    if (::ftruncate(number, 0) != 0) __builtin_trap();
    for (std::size_t done = 0; done < size;) {
      const ssize_t got = ::pwrite(number, data + done, size - done, static_cast<off_t>(done));
      if (got <= 0) __builtin_trap();
      done += static_cast<std::size_t>(got);
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const MemoryFile file;
  file.write(data, size);
  try {
    const auto tokenizer = perilune::load_tokenizer_json(file.path, nullptr);
    perilune::EncodeOptions options;
    options.tokens = true;
    for (const bool recognize : {true, false}) {
      options.recognize = recognize;
      const auto encoding = tokenizer->encode_pair(kText, "and more", options);
      if (encoding.tokens.size() != encoding.ids.size()) __builtin_trap();
      for (const perilune::Token& token : encoding.tokens) {
        if (token.first > token.last || token.last > kText.size()) __builtin_trap();
        if (token.id < 0 || token.id > tokenizer->max_id()) __builtin_trap();
      }
      if (!perilune::is_utf8(tokenizer->decode(encoding.ids))) __builtin_trap();
    }
  } catch (const perilune::Error&) {
  }
  return 0;
}
