#include "engine/text/sentencepiece/charsmap.h"

#include <cstring>

namespace perilune {
namespace {

// check_charsmap has seen every step that this walk can take.
class Walk {
 public:
  explicit Walk(const std::vector<std::uint32_t>& trie) : trie_(trie), position_(offset(trie[0])) {}
  bool step(unsigned char byte) {
    position_ ^= byte;
    const std::uint32_t unit = trie_[position_];
    if ((unit & ((1u << 31) | 0xFF)) != byte) return false;
    position_ ^= offset(unit);
    has_value_ = ((unit >> 8) & 1) != 0;
    return true;
  }
  bool has_value() const { return has_value_; }
  std::uint32_t value() const { return trie_[position_] & ((1u << 31) - 1); }

 private:
  static std::uint32_t offset(std::uint32_t unit) {
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
  }
  const std::vector<std::uint32_t>& trie_;
  std::uint32_t position_;
  bool has_value_ = false;
};

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  if (blob.empty()) return;
  std::uint32_t bytes = 0;
  std::memcpy(&bytes, blob.data(), sizeof(bytes));
  trie_.resize(bytes / 4);
  std::memcpy(trie_.data(), blob.data() + sizeof(bytes), bytes);
  replacements_ = blob.substr(sizeof(bytes) + bytes);
}

Charsmap::Rule Charsmap::longest(std::string_view text) const {
  Rule rule;
  if (empty()) return rule;
  std::uint32_t replacement = 0;
  Walk walk(trie_);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!walk.step(static_cast<unsigned char>(text[i]))) break;
    if (!walk.has_value()) continue;
    rule.length = i + 1;
    replacement = walk.value();
  }
  if (rule.length > 0) rule.replacement = replacements_.c_str() + replacement;
  return rule;
}

Charsmap::Rule Charsmap::shortest(std::string_view text) const {
  if (empty()) return {};
  Walk walk(trie_);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\0' || !walk.step(static_cast<unsigned char>(text[i]))) break;
    if (walk.has_value()) return {i + 1, replacements_.c_str() + walk.value()};
  }
  return {};
}

}  // namespace perilune
