#include "engine/text/sentencepiece_normalizer.h"

#include <cstring>

#include "engine/text/stream_decoder.h"

namespace perilune {

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceModel& model)
    : remove_extra_(model.remove_extra_whitespaces),
      as_suffix_(model.whitespace_as_suffix),
      space_(model.escape_whitespaces ? "\xE2\x96\x81" : " ") {
  if (!model.charsmap.empty()) {
    std::uint32_t bytes = 0;
    std::memcpy(&bytes, model.charsmap.data(), sizeof(bytes));
    trie_.resize(bytes / 4);
    std::memcpy(trie_.data(), model.charsmap.data() + sizeof(bytes), bytes);
    replacements_ = model.charsmap.substr(sizeof(bytes) + bytes);
  }
  for (const auto& piece : model.pieces) {
    if (piece.type == SentencePieceModel::Type::user_defined) symbols_.insert(piece.text, 0);
  }
}

// darts-clone's walk; check_charsmap has seen every step it can take.
std::size_t SentencePieceNormalizer::longest_rule(std::string_view text,
                                                  std::uint32_t& replacement) const {
  std::size_t longest = 0;
  const auto offset = [](std::uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
  std::uint32_t position = offset(trie_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    position ^= byte;
    const std::uint32_t unit = trie_[position];
    if ((unit & ((1u << 31) | 0xFF)) != byte) break;
    position ^= offset(unit);
    if (((unit >> 8) & 1) == 0) continue;
    longest = i + 1;
    replacement = trie_[position] & ((1u << 31) - 1);
  }
  return longest;
}

SentencePieceNormalizer::Step SentencePieceNormalizer::next(std::string_view text) const {
  const std::size_t symbol = symbols_.empty() ? 0 : symbols_.longest_prefix(text);
  if (symbol > 0) return {text.substr(0, symbol), symbol};
  std::uint32_t replacement = 0;
  const std::size_t rule = trie_.empty() ? 0 : longest_rule(text, replacement);
  if (rule > 0) return {replacements_.c_str() + replacement, rule};
  const std::size_t character = utf8_character(text);
  if (character > 0) return {text.substr(0, character), character};
  return {"\xEF\xBF\xBD", 1};
}

NormalizedText SentencePieceNormalizer::normalize(std::string_view text, bool dummy_prefix) const {
  NormalizedText out;
  std::size_t consumed = 0;
  const auto rest = [&] { return text.substr(consumed); };
  const auto append = [&](std::string_view bytes) {
    out.text += bytes;
    out.origin.insert(out.origin.end(), bytes.size(), static_cast<std::uint32_t>(consumed));
  };
  while (remove_extra_ && consumed < text.size()) {
    const Step step = next(rest());
    if (step.out != " ") break;
    consumed += step.consumed;
  }
  if (consumed == text.size()) {
    out.origin.push_back(static_cast<std::uint32_t>(consumed));
    return out;
  }
  if (dummy_prefix && !as_suffix_) append(space_);
  bool after_space = remove_extra_;
  while (consumed < text.size()) {
    const Step step = next(rest());
    std::string_view bytes = step.out;
    while (after_space && !bytes.empty() && bytes.front() == ' ') bytes.remove_prefix(1);
    for (const char& byte : bytes) append(byte == ' ' ? space_ : std::string_view(&byte, 1));
    if (!bytes.empty()) after_space = remove_extra_ && bytes.back() == ' ';
    consumed += step.consumed;
  }
  while (remove_extra_ && out.text.size() >= space_.size() &&
         out.text.compare(out.text.size() - space_.size(), space_.size(), space_) == 0) {
    consumed = out.origin[out.text.size() - space_.size()];
    out.text.resize(out.text.size() - space_.size());
    out.origin.resize(out.text.size());
  }
  if (dummy_prefix && as_suffix_) append(space_);
  out.origin.push_back(static_cast<std::uint32_t>(consumed));
  return out;
}

}  // namespace perilune
