// Added and special tokens: cut out of the text before the vocabulary is asked, longest first.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/text/tokenizer/tokenizer.h"

namespace perilune {

/// A stretch of text: ordinary, or one added token.
struct TextPart {
  std::size_t first = 0, last = 0;    // bytes [first, last); a token's include stripped spaces
  const AddedToken* token = nullptr;  // null: ordinary text
};

class AddedVocabulary {
 public:
  /// Adds or replaces a token by its id. The content is not empty.
  void put(AddedToken token);
  const AddedToken* find(std::int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  /// By id, ascending.
  const std::vector<AddedToken>& tokens() const { return tokens_; }

  /// Cuts `text` at the leftmost longest occurrences. Never returns an empty ordinary part.
  std::vector<TextPart> split(std::string_view text) const;

 private:
  const AddedToken* match(std::string_view text, std::size_t at) const;
  void rebuild();

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::size_t> by_content_;
  std::vector<std::size_t> lengths_;  // that contents have, longest first
  std::vector<bool> first_bytes_ = std::vector<bool>(256, false);
};

}  // namespace perilune
