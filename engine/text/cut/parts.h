// What the pre-tokenizers share: cutting pieces at matches, changing the text piece by piece.
#pragma once

#include <string_view>
#include <vector>

#include "engine/text/unicode/aligned_text.h"

namespace perilune {

/// What becomes of the matches that text is cut at (published names).
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// ASCII punctuation and symbols, and \p{P} of the Unicode version of the published pre-tokenizers.
bool is_published_punctuation(char32_t value);

/// Appends to `out` the pieces that `piece` falls into at `matches` (ascending, inside it; empty
/// ones cut too). With `invert` what lies between the matches is what counts as matched.
void cut(TextSpan piece, const std::vector<TextSpan>& matches, SplitBehavior behavior, bool invert,
         std::vector<TextSpan>& out);

/// Whether `matches`, from number `begin`, are `piece` without a gap: what most expressions give.
bool covers(TextSpan piece, const std::vector<TextSpan>& matches, std::size_t begin);

/// Cuts every piece at what `find(piece, matches)` appends.
template <class Find>
void cut_all(std::vector<TextSpan>& pieces, SplitBehavior behavior, bool invert, const Find& find) {
  constexpr std::uint32_t kUsual = 6;  // bytes of a piece
  std::vector<TextSpan> out, matches;
  out.reserve(pieces.empty() ? 0 : pieces.size() + (pieces.back().last - pieces[0].first) / kUsual);
  for (const TextSpan& piece : pieces) {
    if (behavior == SplitBehavior::isolated) {
      const std::size_t begin = out.size();
      find(piece, out);
      if (covers(piece, out, begin)) continue;
      matches.assign(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end());
      out.resize(begin);
    } else {
      matches.clear();
      find(piece, matches);
    }
    cut(piece, matches, behavior, invert, out);
  }
  pieces = std::move(out);
}

/// Writes every piece anew with `write(writer, piece)`, which returns the bytes it wrote; the
/// pieces then are the new ones. Text between pieces goes.
template <class Write>
void rewrite(AlignedText& text, std::vector<TextSpan>& pieces, const Write& write) {
  AlignedTextWriter writer(text);
  std::uint32_t at = 0;
  for (TextSpan& piece : pieces) {
    const std::uint32_t size = write(writer, piece);
    piece = {at, at + size};
    at += size;
  }
  writer.finish();
}

}  // namespace perilune
