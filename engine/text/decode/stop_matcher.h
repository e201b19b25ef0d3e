// Stop strings in text that comes in parts.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace perilune {

/// Watches for the first place where one of some strings ends, on bytes, however the text is cut
/// into parts. Holds back the longest end of the text that could begin a stop string.
class StopMatcher {
 public:
  /// No strings: everything is released at once. Throws Error(argument) for an empty string.
  explicit StopMatcher(std::vector<std::string> stops = {});

  /// The text that can be released now. After a match: "", and the text is not looked at.
  std::string push(std::string_view text);
  /// At the end of the text: what was held back (nothing after a match).
  std::string flush();

  bool matched() const { return matched_ >= 0; }
  /// Index (0-based) of the stop string that was found, or -1. Where two end at the same byte, the
  /// longer one; of equal strings the first.
  int matched_index() const { return matched_; }
  /// The stop string that was found; "" without a match.
  const std::string& matched_text() const;
  /// Forgets text and match, keeps the strings.
  void reset();

 private:
  struct Stop {
    std::string text;
    std::vector<std::size_t> fallback;  // Knuth, Morris, Pratt 1977
    std::size_t length = 0;             // of the prefix that the text so far ends with
  };
  bool advance(char byte);

  std::vector<Stop> stops_;
  std::string held_;
  int matched_ = -1;
};

}  // namespace perilune
