#include "engine/text/unicode/byte_level.h"

#include <array>
#include <cstdint>

#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

struct Alphabet {
  std::array<char32_t, 256> characters{};
  std::array<std::int16_t, 512> bytes{};  // by character; -1: none

  Alphabet() {
    bytes.fill(-1);
    char32_t next = 256;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
                             (byte >= 0xAE && byte <= 0xFF);
      characters[byte] = printable ? byte : next++;
      bytes[characters[byte]] = static_cast<std::int16_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet made;
  return made;
}

}  // namespace

char32_t byte_level_character(unsigned char byte) {
  return alphabet().characters[byte];
}

std::optional<std::string> bytes_of_byte_level(std::string_view spelling) {
  std::string bytes;
  for (std::size_t at = 0; at < spelling.size();) {
    const Character c = character_at(spelling, at);
    const std::int16_t byte = c.value < 512 ? alphabet().bytes[c.value] : std::int16_t{-1};
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(byte);
    at += c.size;
  }
  return bytes;
}

std::string byte_level_of_bytes(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    append_character(out, byte_level_character(static_cast<unsigned char>(byte)));
  }
  return out;
}

}  // namespace perilune
