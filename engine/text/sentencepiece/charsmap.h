// The compiled rules of SentencePiece's normalizers: which bytes become which.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace perilune {

/// A double-array trie (darts-clone) of what is looked for and the texts that take its place.
/// Immutable and thread-safe.
class Charsmap {
 public:
  Charsmap() = default;  // no rules
  /// `blob` is valid (check_charsmap in sentencepiece_file.h says "") or empty: no rules.
  explicit Charsmap(std::string_view blob);
  bool empty() const { return trie_.empty(); }

  struct Rule {
    std::size_t length = 0;        // bytes that it takes; 0: none begins the text
    std::string_view replacement;  // of this object's memory
  };
  /// The longest rule that begins `text`: what SentencePiece applies.
  Rule longest(std::string_view text) const;
  /// The shortest one: what `Precompiled` of a tokenizer.json applies. It sees no further than a
  /// NUL.
  Rule shortest(std::string_view text) const;

 private:
  std::vector<std::uint32_t> trie_;
  std::string replacements_;
};

}  // namespace perilune
