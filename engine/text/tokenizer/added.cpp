#include "engine/text/tokenizer/added.h"

#include <algorithm>
#include <set>

namespace perilune {
namespace {

// Length of the white-space character (as Python's str.strip sees it) at `at`, or 0.
std::size_t space_at(std::string_view text, std::size_t at) {
  const std::size_t length = utf8_character(text.substr(at));
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  if (length == 1) {
    const unsigned char c = byte(0);
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) ? 1 : 0;
  }
  if (length == 2) return byte(0) == 0xC2 && (byte(1) == 0x85 || byte(1) == 0xA0) ? 2 : 0;
  if (length != 3) return 0;
  const unsigned point = (byte(0) & 15u) << 12 | (byte(1) & 63u) << 6 | (byte(2) & 63u);
  const bool space = point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 ||
                     point == 0x2029 || point == 0x202F || point == 0x205F || point == 0x3000;
  return space ? 3 : 0;
}

std::size_t skip_spaces(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const std::size_t length = space_at(text, at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

// The end of `text` without its trailing white space, not before `from`.
std::size_t drop_spaces(std::string_view text, std::size_t from, std::size_t end) {
  while (end > from) {
    std::size_t start = end - 1;
    while (start > from && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    if (space_at(text.substr(0, end), start) != end - start) break;
    end = start;
  }
  return end;
}

bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || byte == '_' || (byte >= '0' && byte <= '9') ||
         ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

}  // namespace

void AddedVocabulary::put(AddedToken token) {
  const auto at = std::lower_bound(tokens_.begin(), tokens_.end(), token.id,
                                   [](const AddedToken& a, std::int32_t id) { return a.id < id; });
  if (at != tokens_.end() && at->id == token.id) {
    *at = std::move(token);
    rebuild();
    return;
  }
  const bool at_end = at == tokens_.end();
  tokens_.insert(at, std::move(token));
  if (!at_end) {
    rebuild();
    return;
  }
  const AddedToken& added = tokens_.back();
  by_content_[added.content] = tokens_.size() - 1;
  first_bytes_[static_cast<unsigned char>(added.content[0])] = true;
  const auto place =
      std::lower_bound(lengths_.begin(), lengths_.end(), added.content.size(), std::greater<>());
  if (place == lengths_.end() || *place != added.content.size()) {
    lengths_.insert(place, added.content.size());
  }
}

void AddedVocabulary::rebuild() {
  by_content_.clear();
  std::set<std::size_t, std::greater<>> lengths;
  std::fill(first_bytes_.begin(), first_bytes_.end(), false);
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    by_content_[tokens_[i].content] = i;
    lengths.insert(tokens_[i].content.size());
    first_bytes_[static_cast<unsigned char>(tokens_[i].content[0])] = true;
  }
  lengths_.assign(lengths.begin(), lengths.end());
}

const AddedToken* AddedVocabulary::find(std::int32_t id) const {
  const auto at =
      std::lower_bound(tokens_.begin(), tokens_.end(), id,
                       [](const AddedToken& a, std::int32_t wanted) { return a.id < wanted; });
  return at != tokens_.end() && at->id == id ? &*at : nullptr;
}

const AddedToken* AddedVocabulary::find(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedVocabulary::match(std::string_view text, std::size_t at) const {
  for (const std::size_t length : lengths_) {
    if (length > text.size() - at) continue;
    const AddedToken* token = find(text.substr(at, length));
    if (token == nullptr) continue;
    const bool inside_word = (at > 0 && is_word_byte(text[at - 1])) ||
                             (at + length < text.size() && is_word_byte(text[at + length]));
    if (token->single_word && inside_word) continue;
    return token;
  }
  return nullptr;
}

std::vector<TextPart> AddedVocabulary::split(std::string_view text) const {
  std::vector<TextPart> parts;
  std::size_t done = 0;  // up to here everything is in a part
  for (std::size_t at = 0; at < text.size();) {
    const bool possible = first_bytes_[static_cast<unsigned char>(text[at])];
    const AddedToken* token = possible ? match(text, at) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t first = at, last = at + token->content.size();
    if (token->lstrip) first = drop_spaces(text, done, first);
    if (token->rstrip) last = skip_spaces(text, last);
    if (first > done) parts.push_back({done, first, nullptr});
    parts.push_back({first, last, token});
    done = at = last;
  }
  if (done < text.size()) parts.push_back({done, text.size(), nullptr});
  return parts;
}

}  // namespace perilune
