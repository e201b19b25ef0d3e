// What text is cut or replaced by: a plain string or a regular expression.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/text/unicode/aligned_text.h"

namespace perilune {

/// Immutable and thread-safe. Patterns that published tokenizers use are recognised by their source
/// and run as hand-written scanners in linear time; every other goes through PCRE2 with a limit on
/// its steps.
class Pattern {
 public:
  virtual ~Pattern() = default;
  /// Matches in valid UTF-8 [first, last) of `text`, left to right, not overlapping, appended to
  /// `out`; empty ones too, but for one right after another match. Look-around sees nothing outside
  /// the range. Throws Error(length) naming the pattern where its step limit is reached.
  virtual void find(std::string_view text, TextSpan range, std::vector<TextSpan>& out) const = 0;
  /// Whether this is a hand-written scanner (for tests and explain).
  virtual bool scanner() const { return false; }
};

std::unique_ptr<Pattern> literal_pattern(std::string text);
/// Syntax as published files write it (Oniguruma's and Rust's, as far as the two agree). Throws
/// Error(format) with the place for one that cannot be read.
std::unique_ptr<Pattern> regex_pattern(const std::string& source, std::string_view place);
/// { "String": … } or { "Regex": … }.
std::unique_ptr<Pattern> read_pattern(const Json& json);

}  // namespace perilune
