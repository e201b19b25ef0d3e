// Any bytes are a value or one Error; what was read is written and read back as the same value.
#include <cstdint>
#include <string_view>

#include "engine/base/error.h"
#include "engine/base/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  perilune::Json json;
  try {
    json = perilune::parse_json(text, "fuzz.json");
  } catch (const perilune::Error&) {
    return 0;
  }
  if (!(perilune::parse_json(perilune::write_json(json), "again.json") == json)) __builtin_trap();
  if (!(perilune::parse_json(perilune::write_json(json, 2), "again.json") == json)) {
    __builtin_trap();
  }
  return 0;
}
