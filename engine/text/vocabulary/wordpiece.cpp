#include <algorithm>

#include "engine/text/unicode/byte_trie.h"
#include "engine/text/vocabulary/entries.h"
#include "engine/text/vocabulary/memo.h"
#include "engine/text/vocabulary/token_model.h"

namespace perilune {
namespace {

class WordPiece final : public WordModel {
 public:
  WordPiece(Vocabulary vocabulary, const WordPieceOptions& options, std::string_view place)
      : WordModel(std::move(vocabulary), options.unknown, place), options_(options) {
    for (std::int32_t number = 0; number < vocabulary_.size(); ++number) {
      const std::string& spelling = vocabulary_.spelling(number);
      if (!spelling.empty()) first_.insert(spelling, number);
      if (!spelling.starts_with(options.continuing_prefix)) continue;
      const std::string_view rest =
          std::string_view(spelling).substr(options.continuing_prefix.size());
      if (!rest.empty()) continuing_.insert(rest, number);
    }
  }

  const char* kind() const override { return "wordpiece"; }
  bool marks_inner_pieces() const override { return !options_.continuing_prefix.empty(); }

  void tokenize(std::string_view text, std::span<const TextSpan> pieces,
                std::vector<ModelToken>& out) const override {
    out.reserve(out.size() + pieces.size());
    with_memory(memos_, text, pieces, out, [&](TextSpan piece, std::int32_t word) {
      const std::size_t before = out.size();
      if (cut(text, piece, word, out)) return;
      out.resize(before);
      out.push_back({unknown_id(), piece.first, piece.last, word});
    });
  }

 private:
  struct Match {
    std::int32_t number = -1;
    std::uint32_t last = 0;
  };

  static Match longest(const ByteTrie& trie, std::string_view text, TextSpan range) {
    Match match;
    std::uint32_t node = 0;
    for (std::uint32_t at = range.first; at < range.last;) {
      node = trie.child(node, static_cast<unsigned char>(text[at++]));
      if (node == ByteTrie::kNone) break;
      if (trie.value(node) >= 0) match = {trie.value(node), at};
    }
    return match;
  }

  bool too_long(std::string_view word) const {
    const auto limit = static_cast<std::size_t>(std::max<std::int64_t>(options_.max_characters, 0));
    if (word.size() <= limit) return false;
    const auto starts = std::count_if(word.begin(), word.end(), [](char byte) {
      return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
    });
    return static_cast<std::size_t>(starts) > limit;
  }

  // False where some part of the word is no entry.
  bool cut(std::string_view text, TextSpan piece, std::int32_t word,
           std::vector<ModelToken>& out) const {
    const std::string_view bytes = text.substr(piece.first, piece.last - piece.first);
    if (too_long(bytes)) return false;
    const std::int32_t whole = vocabulary_.number(bytes);
    if (whole >= 0) {
      out.push_back({vocabulary_.id_of(whole), piece.first, piece.last, word});
      return true;
    }
    for (std::uint32_t at = piece.first; at < piece.last;) {
      const Match match = longest(at == piece.first ? first_ : continuing_, text, {at, piece.last});
      if (match.number < 0) return false;
      out.push_back({vocabulary_.id_of(match.number), at, match.last, word});
      at = match.last;
    }
    return true;
  }

  WordPieceOptions options_;
  mutable MemoPool memos_;
  ByteTrie first_, continuing_;  // numbers of entries; without the prefix
};

}  // namespace

std::unique_ptr<TokenModel> make_wordpiece(Vocabulary vocabulary, const WordPieceOptions& options,
                                           std::string_view place) {
  return std::make_unique<WordPiece>(std::move(vocabulary), options, place);
}

}  // namespace perilune
