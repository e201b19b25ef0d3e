// Any bytes are a regular expression, a GBNF grammar, a JSON schema or one Error; what is taken can
// be followed over any text in bounded time and memory.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/error.h"
#include "engine/constrain/gbnf.h"
#include "engine/constrain/json_schema.h"
#include "engine/constrain/matcher.h"
#include "engine/constrain/regex.h"
#include "engine/constrain/without.h"

using namespace perilune;

namespace {

Grammar grammar_of(std::uint8_t kind, std::string_view source) {
  switch (kind % 5) {
    case 0: return regex_grammar(source);
    case 1: return read_gbnf(source);
    case 2: return grammar_without({std::string(source)});
    default: return json_schema_grammar(source, kind % 5 == 3 ? JsonSpace::none : JsonSpace::some);
  }
}

}  // namespace

// The first byte says what it is; the bytes after the first NUL are a text to follow.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 4096) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string_view source = all.substr(0, all.find('\0'));
  const std::string_view text = all.substr(std::min(source.size() + 1, all.size()));
  try {
    Matcher matcher(std::make_shared<const Automaton>(grammar_of(data[0], source)));
    Matcher::State state = matcher.start();
    if (state == Matcher::kDead) __builtin_trap();  // an Automaton has a text
    for (const char byte : text) {
      state = matcher.next(state, static_cast<std::uint8_t>(byte));
      if (state == Matcher::kDead) break;
    }
  } catch (const Error&) {
    return 0;
  }
  return 0;
}
