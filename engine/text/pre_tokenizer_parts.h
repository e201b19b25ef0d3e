// What the pre-tokenizers share: cutting pieces at matches, changing the text piece by piece.
#pragma once

#include <string_view>
#include <vector>

#include "engine/text/aligned_text.h"

namespace perilune {

/// What becomes of the matches that text is cut at (published names).
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// Appends to `out` the pieces that `piece` falls into at `matches` (ascending, inside it). With
/// `invert` what lies between the matches is what counts as matched.
void cut(TextSpan piece, const std::vector<TextSpan>& matches, SplitBehavior behavior, bool invert,
         std::vector<TextSpan>& out);

/// Cuts every piece at what `find(piece, matches)` finds.
template <class Find>
void cut_all(std::vector<TextSpan>& pieces, SplitBehavior behavior, bool invert, const Find& find) {
  std::vector<TextSpan> out, matches;
  out.reserve(pieces.size() * 2);
  for (const TextSpan& piece : pieces) {
    matches.clear();
    find(piece, matches);
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
