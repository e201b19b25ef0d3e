#include "engine/text/tokenizer/added_matcher.h"

#include <algorithm>
#include <cstring>

#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

std::size_t character_before(std::string_view text, std::size_t at) {
  std::size_t start = at - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return start;
}

bool word_at(std::string_view text, std::size_t at) {
  return at < text.size() && has_flag(character_at(text, at).value, kWord);
}

bool word_before(std::string_view text, std::size_t at) {
  return at > 0 && word_at(text, character_before(text, at));
}

std::size_t spaces_after(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const Character character = character_at(text, at);
    if (!has_flag(character.value, kWhiteSpace)) break;
    at += character.size;
  }
  return at;
}

std::size_t spaces_before(std::string_view text, std::size_t at, std::size_t limit) {
  while (at > limit) {
    const std::size_t start = character_before(text, at);
    if (!has_flag(character_at(text, start).value, kWhiteSpace)) break;
    at = start;
  }
  return std::max(at, limit);
}

}  // namespace

void AddedMatcher::insert(std::string_view pattern, const AddedToken& token) {
  if (pattern.empty() || trie_.longest_prefix(pattern) == pattern.size()) return;
  trie_.insert(pattern, static_cast<std::int32_t>(tokens_.size()));
  tokens_.push_back(&token);
  const auto byte = static_cast<unsigned char>(pattern[0]);
  if (!starts_[byte]) ++start_count_;
  starts_[byte] = true;
  only_start_ = byte;
}

std::size_t AddedMatcher::next_start(std::string_view text, std::size_t from) const {
  if (start_count_ == 1) {
    const void* found = std::memchr(text.data() + from, only_start_, text.size() - from);
    return found == nullptr
               ? text.size()
               : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  }
  while (from < text.size() && !starts_[static_cast<unsigned char>(text[from])]) ++from;
  return from;
}

AddedMatcher::Match AddedMatcher::next(std::string_view text, std::size_t from) const {
  for (std::size_t at = next_start(text, from); at < text.size(); at = next_start(text, at + 1)) {
    Match match;
    std::uint32_t node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      node = trie_.child(node, static_cast<unsigned char>(text[i]));
      if (node == ByteTrie::kNone) break;
      const std::int32_t value = trie_.value(node);
      if (value >= 0) match = {at, i + 1, tokens_[static_cast<std::size_t>(value)]};
    }
    if (match.token != nullptr) return match;
  }
  return {};
}

void AddedMatcher::find(std::string_view text, bool specials,
                        std::vector<AddedStretch>& out) const {
  const auto put = [&out](std::size_t first, std::size_t last, const AddedToken* token) {
    out.push_back({{static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last)}, token});
  };
  std::size_t done = 0, from = 0;
  while (from < text.size()) {
    const Match match = next(text, from);
    if (match.token == nullptr) break;
    from = match.last;  // what is not taken is not looked at again, as published
    const AddedToken& token = *match.token;
    if (!specials && token.special) continue;
    if (token.single_word && (word_before(text, match.first) || word_at(text, match.last))) {
      continue;
    }
    std::size_t first = match.first, last = match.last;
    if (token.lstrip) first = std::max(spaces_before(text, first, std::min(first, done)), done);
    if (token.rstrip) last = spaces_after(text, last);
    if (done < first) put(done, first, nullptr);
    if (first < last) put(first, last, &token);  // nothing may be left of it
    done = std::max(last, std::min(first, done));
  }
  if (done < text.size()) put(done, text.size(), nullptr);
}

}  // namespace perilune
