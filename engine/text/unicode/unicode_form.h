// The four normal forms of Unicode Annex 15, character by character with how each came about.
#pragma once

#include <string_view>
#include <vector>

#include "engine/text/unicode/aligned_text.h"

namespace perilune {

enum class NormalForm { c, d, kc, kd };

/// A character of a changed text, and how many characters of the old one it stands for, as the
/// published tokenizers count: 0: it takes the place of one; above 0: it was inserted after
/// another; -n: it takes the place of one and n more after it are gone. Then `of` are the bytes of
/// the old text that it is made of.
struct Change {
  char32_t value;
  int change;
  TextSpan of{};
};

/// The next part of `text` from byte `from` on that may not be in the form yet; empty where there
/// is none. What lies outside of such parts stays, and parts do not act on one another. `from` is 0
/// or the end of a part.
TextSpan next_part(std::string_view text, std::size_t from, NormalForm form);
/// Appends the characters of `text` (valid UTF-8) in a normal form to `out`, which is empty. Time
/// is linear but for the sorting of runs of combining marks.
void to_form(std::string_view text, NormalForm form, std::vector<Change>& out);
/// Appends the full decomposition of one character (itself where there is none).
void append_decomposition(char32_t value, bool compatible, std::u32string& out);
/// Whether `value` stays as it is in the form, whatever is beside it.
bool stays_in_form(char32_t value, NormalForm form);

}  // namespace perilune
