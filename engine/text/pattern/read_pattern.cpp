#include "engine/text/pattern/pattern.h"

#include "engine/base/error.h"
#include "engine/text/pattern/scanner.h"
#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

class LiteralPattern final : public Pattern {
 public:
  explicit LiteralPattern(std::string text) : text_(std::move(text)) {}

  void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const override {
    if (text_.empty()) return find_boundaries(text, range, out);
    const std::string_view part = text.substr(0, range.last);
    for (std::size_t at = part.find(text_, range.first); at != std::string_view::npos;
         at = part.find(text_, at + text_.size())) {
      out.push_back(
          {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at + text_.size())});
    }
  }

 private:
  /// Nothing is found before every character and at the end.
  static void find_boundaries(std::string_view text, TextSpan range, std::vector<TextSpan>& out) {
    for (std::uint32_t at = range.first; at < range.last; at += character_at(text, at).size) {
      out.push_back({at, at});
    }
    out.push_back({range.last, range.last});
  }

  std::string text_;
};

}  // namespace

std::unique_ptr<Pattern> literal_pattern(std::string text) {
  return std::make_unique<LiteralPattern>(std::move(text));
}

std::unique_ptr<Pattern> regex_pattern(const std::string& source, std::string_view place) {
  if (auto scanner = known_scanner(source)) return scanner;
  return pcre_pattern(source, place);
}

std::unique_ptr<Pattern> read_pattern(const Json& json) {
  if (const Json* text = json.find("String")) {
    return literal_pattern(text->as_string(json.place_of("String")));
  }
  if (const Json* regex = json.find("Regex")) {
    return regex_pattern(regex->as_string(json.place_of("Regex")), json.place_of("Regex"));
  }
  throw Error(ErrorCode::format, "tokenizer",
              json.place() + ": expected {\"String\": …} or {\"Regex\": …}");
}

}  // namespace perilune
