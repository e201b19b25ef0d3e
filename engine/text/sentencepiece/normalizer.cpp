#include "engine/text/sentencepiece/normalizer.h"

#include "engine/base/interrupt.h"
#include "engine/base/utf8.h"

namespace perilune {

SentencePieceNormalizer::SentencePieceNormalizer(const SentencePieceModel& model)
    : charsmap_(model.charsmap),
      remove_extra_(model.remove_extra_whitespaces),
      as_suffix_(model.whitespace_as_suffix),
      space_(model.escape_whitespaces ? "\xE2\x96\x81" : " ") {
  for (const auto& piece : model.pieces) {
    if (piece.type == SentencePieceModel::Type::user_defined) symbols_.insert(piece.text, 0);
  }
}

SentencePieceNormalizer::Step SentencePieceNormalizer::next(std::string_view text) const {
  const std::size_t symbol = symbols_.empty() ? 0 : symbols_.longest_prefix(text);
  if (symbol > 0) return {text.substr(0, symbol), symbol};
  const Charsmap::Rule rule = charsmap_.longest(text);
  if (rule.length > 0) return {rule.replacement, rule.length};
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
    stop_if_interrupted("encode");
    const Step step = next(rest());
    if (step.out != " ") break;
    consumed += step.consumed;
  }
  if (consumed == text.size()) {
    out.origin.push_back(static_cast<std::uint32_t>(consumed));
    return out;
  }
  out.text.reserve(text.size() + text.size() / 2);
  out.origin.reserve(text.size() + text.size() / 2);
  if (dummy_prefix && !as_suffix_) append(space_);
  bool after_space = remove_extra_;
  const bool plain = charsmap_.empty() && symbols_.empty();
  while (consumed < text.size()) {
    std::size_t end = consumed;  // of a run that stays as it is
    while (plain && end < text.size() && text[end] > 0 && text[end] != ' ') ++end;
    if (end > consumed) {
      out.text += text.substr(consumed, end - consumed);
      for (; consumed < end; ++consumed) out.origin.push_back(static_cast<std::uint32_t>(consumed));
      after_space = false;
      continue;
    }
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
