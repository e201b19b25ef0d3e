#include "repl/editor/text.h"

#include <utf8proc.h>

#include <algorithm>

namespace perilune::repl {
namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

struct Point {
  utf8proc_int32_t value;  // negative: not UTF-8
  std::size_t size;
};

Point point_at(std::string_view text, std::size_t at) {
  utf8proc_int32_t value = -1;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at;
  const auto size =
      utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - at), &value);
  if (size <= 0 || value < 0) return {-1, 1};
  return {value, static_cast<std::size_t>(size)};
}

bool is_control(utf8proc_int32_t value) {
  return value < 0x20 || (value >= 0x7F && value < 0xA0);
}

int columns_of_point(utf8proc_int32_t value) {
  if (value == '\t') return kTabColumns;
  if (value < 0) return 1;
  if (is_control(value)) return 2;
  return utf8proc_charwidth(value);
}

}  // namespace

std::size_t next_character(std::string_view text, std::size_t at) {
  if (at >= text.size()) return text.size();
  Point point = point_at(text, at);
  at += point.size;
  utf8proc_int32_t state = 0;
  while (at < text.size() && point.value >= 0x20) {
    const Point next = point_at(text, at);
    if (next.value < 0x20) break;
    if (utf8proc_grapheme_break_stateful(point.value, next.value, &state) != 0) break;
    at += next.size;
    point = next;
  }
  return at;
}

std::size_t previous_character(std::string_view text, std::size_t at) {
  at = std::min(at, text.size());
  // A character has no newline in it: the line's start is a place to count from.
  std::size_t start = at > 0 ? text.rfind('\n', at - 1) : std::string_view::npos;
  start = start == std::string_view::npos ? 0 : start;
  if (at == 0) return 0;
  for (std::size_t next = start;; start = next) {
    next = next_character(text, start);
    if (next >= at) return start;
  }
}

int columns_of_character(std::string_view character) {
  int columns = 0;
  for (std::size_t at = 0; at < character.size();) {
    const Point point = point_at(character, at);
    columns = std::max(columns, columns_of_point(point.value));  // marks join the letter's columns
    at += point.size;
  }
  return columns;
}

int columns_of(std::string_view text) {
  int columns = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = next_character(text, at);
    columns += columns_of_character(text.substr(at, next - at));
    at = next;
  }
  return columns;
}

std::string shown_character(std::string_view character) {
  const Point point = point_at(character, 0);
  if (point.value < 0) return kReplacement;
  if (point.value == '\t') return std::string(kTabColumns, ' ');
  if (point.value < 0x20) return {'^', static_cast<char>('@' + point.value)};
  if (is_control(point.value)) return "^?";
  return std::string(character);
}

std::string clean_text(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const Point point = point_at(bytes, at);
    if (point.value < 0) {
      text += kReplacement;
    } else if (point.value == '\r') {
      text += '\n';
      if (at + 1 < bytes.size() && bytes[at + 1] == '\n') ++at;
    } else if (point.value == '\n' || point.value == '\t' || !is_control(point.value)) {
      text += bytes.substr(at, point.size);
    }
    at += point.size;
  }
  return text;
}

}  // namespace perilune::repl
