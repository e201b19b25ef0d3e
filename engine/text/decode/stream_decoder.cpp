#include "engine/text/decode/stream_decoder.h"

#include <algorithm>
#include <array>

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

void StreamReplace::push(std::string_view text, std::string& out) {
  held_ += text;
  std::size_t done = 0;
  for (;;) {
    const std::size_t found = held_.find(pattern_, done);
    if (found == std::string::npos) break;
    out.append(held_, done, found - done);
    out += replacement_;
    done = found + pattern_.size();
  }
  std::size_t keep = std::min(held_.size() - done, pattern_.size() - 1);
  while (held_.compare(held_.size() - keep, keep, pattern_, 0, keep) != 0) --keep;
  out.append(held_, done, held_.size() - keep - done);
  held_.erase(0, held_.size() - keep);
}

void StreamReplace::flush(std::string& out) {
  out += held_;
  held_.clear();
}

StreamCleanUp::StreamCleanUp() {
  // In this order, each on the result of the one before it, as published.
  const std::array<std::array<const char*, 2>, 10> rules = {{{" .", "."},
                                                             {" ?", "?"},
                                                             {" !", "!"},
                                                             {" ,", ","},
                                                             {" ' ", "'"},
                                                             {" n't", "n't"},
                                                             {" 'm", "'m"},
                                                             {" 's", "'s"},
                                                             {" 've", "'ve"},
                                                             {" 're", "'re"}}};
  for (const auto& [pattern, replacement] : rules) steps_.emplace_back(pattern, replacement);
}

void StreamCleanUp::push(std::string_view text, std::string& out) {
  std::string current(text), next;
  for (StreamReplace& step : steps_) {
    next.clear();
    step.push(current, next);
    current.swap(next);
  }
  out += current;
}

void StreamCleanUp::flush(std::string& out) {
  std::string current, next;
  for (StreamReplace& step : steps_) {
    next.clear();
    step.push(current, next);
    step.flush(next);
    current.swap(next);
  }
  out += current;
}

}  // namespace perilune
