// Regular expressions of published tokenizer files (Oniguruma's Ruby syntax) written for PCRE2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace perilune {

/// An expression for PCRE2 (UTF, UCP, multi-line).
struct PcreSource {
  std::string text;
  std::uint32_t longest_repeat = 1;  // the highest count in a {…}
  /// Places in `text`, ascending, and the bytes of the source they were written for.
  std::vector<std::pair<std::size_t, std::size_t>> places;

  /// The byte of the source that what is at `at` was written for.
  std::size_t place(std::size_t at) const;
};

/// Where the two differ the published syntax counts: (?m) lets a dot take newlines, (?i) reaches to
/// the end of its group, {n}+ repeats a repetition, classes nest and intersect ([a&&[^b]]), \h is a
/// hexadecimal digit, \w, \s, \b and [:name:] are Unicode's, \p{Han} is a script. Throws
/// Error(format) naming `place` for what PCRE2 has and the published syntax does not (callouts,
/// verbs, recursion) and for expressions nested too deeply; what else is wrong PCRE2 says.
PcreSource pcre_source(std::string_view source, std::string_view place);

}  // namespace perilune
