#include "engine/base/utf8.h"

#include <algorithm>
#include <cstring>

namespace perilune {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

unsigned char byte_at(std::string_view text, std::size_t index) {
  return static_cast<unsigned char>(text[index]);
}

// What the first byte of a character says: its length and the range of the second byte, which
// excludes overlong forms, surrogates and what lies beyond U+10FFFF (Unicode, table 3-7).
struct Lead {
  std::size_t length = 0;  // 0: no character begins so
  unsigned char low = 0x80, high = 0xBF;
};

Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte >= 0xC2 && byte <= 0xDF) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

// How many bytes at the start of `text` are a character or could become one with more bytes.
std::size_t well_formed(std::string_view text, const Lead& lead) {
  std::size_t good = 1;
  while (good < lead.length && good < text.size()) {
    const unsigned char byte = byte_at(text, good);
    const bool fits =
        good == 1 ? byte >= lead.low && byte <= lead.high : byte >= 0x80 && byte <= 0xBF;
    if (!fits) break;
    ++good;
  }
  return good;
}

}  // namespace

Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

std::size_t ascii_end(std::string_view text, std::size_t at) {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  for (; at + kWord <= text.size(); at += kWord) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, kWord);
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

void append_character(std::string& out, char32_t value) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    put(value);
  } else if (value < 0x800) {
    put(0xC0 | value >> 6);
    put(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    put(0xE0 | value >> 12);
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  } else {
    put(0xF0 | value >> 18);
    put(0x80 | (value >> 12 & 0x3F));
    put(0x80 | (value >> 6 & 0x3F));
    put(0x80 | (value & 0x3F));
  }
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  Utf8Buffer buffer(Utf8Replacement::subpart);
  std::size_t good = 0;
  while (good < text.size()) {
    const std::size_t size = utf8_character(text.substr(good));
    if (size == 0) break;
    good += size;
  }
  out.append(text.substr(0, good));
  buffer.push(text.substr(good), out);
  buffer.flush(out);
  return out;
}

std::size_t utf8_character(std::string_view text) {
  if (text.empty()) return 0;
  const Lead lead = lead_of(byte_at(text, 0));
  if (lead.length == 0) return 0;
  return well_formed(text, lead) == lead.length ? lead.length : 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_character(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void Utf8Buffer::push(std::string_view bytes, std::string& out) {
  open_ += bytes;
  std::string_view rest = open_;
  while (!rest.empty()) {
    const Lead lead = lead_of(byte_at(rest, 0));
    const std::size_t good = lead.length == 0 ? 0 : well_formed(rest, lead);
    if (lead.length > 0 && good == lead.length) {
      out += rest.substr(0, good);
      rest.remove_prefix(good);
    } else if (good == rest.size()) {
      break;  // may still become a character
    } else {
      out += kReplacementCharacter;
      const bool whole = replacement_ == Utf8Replacement::subpart;
      rest.remove_prefix(whole ? std::max<std::size_t>(good, 1) : 1);
    }
  }
  open_.erase(0, open_.size() - rest.size());
}

void Utf8Buffer::flush(std::string& out) {
  if (open_.empty()) return;
  const std::size_t count = replacement_ == Utf8Replacement::subpart ? 1 : open_.size();
  for (std::size_t i = 0; i < count; ++i) out += kReplacementCharacter;
  open_.clear();
}

}  // namespace perilune
