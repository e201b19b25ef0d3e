// Finds added tokens in a text: leftmost, longest.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/unicode/aligned_text.h"
#include "engine/text/unicode/byte_trie.h"

namespace perilune {

/// A stretch of text: ordinary (`token` null), or one added token with the white space it takes.
/// Stretches cover the text from left to right. They overlap only where one token takes white space
/// that another one is made of: then both are there, as published.
struct AddedStretch {
  TextSpan span;
  const AddedToken* token = nullptr;
};

/// Immutable and thread-safe. The tokens are somebody else's and stay where they are.
class AddedMatcher {
 public:
  /// Looks for `pattern` in place of the token's content. Empty patterns are never found; of two
  /// equal ones the first counts.
  void insert(std::string_view pattern, const AddedToken& token);
  bool empty() const { return tokens_.empty(); }
  /// The stretches of valid UTF-8, none of them empty. `specials` false: special tokens are plain
  /// text.
  void find(std::string_view text, bool specials, std::vector<AddedStretch>& out) const;

 private:
  struct Match {
    std::size_t first = 0, last = 0;
    const AddedToken* token = nullptr;
  };
  std::size_t next_start(std::string_view text, std::size_t from) const;
  Match next(std::string_view text, std::size_t from) const;

  ByteTrie trie_;
  std::vector<const AddedToken*> tokens_;  // by the trie's values
  std::array<bool, 256> starts_{};         // first bytes
  int start_count_ = 0;
  unsigned char only_start_ = 0;
};

}  // namespace perilune
