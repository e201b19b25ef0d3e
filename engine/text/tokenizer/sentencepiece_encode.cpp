// Text to ids: added tokens first, then the vocabulary, by the rules of the published classes.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/text/tokenizer/sentencepiece.h"

namespace perilune {
namespace {

constexpr std::size_t kMaxText = std::size_t{64} << 20;  // bytes in one call

}  // namespace

void SentencePieceTokenizer::encode_part(bool dummy_prefix, std::string_view text,
                                         std::size_t first, int which, const EncodeOptions& options,
                                         Encoding& out) const {
  const NormalizedText normalized = normalizer_->normalize(text, dummy_prefix);
  std::vector<ModelToken> segments;
  segmenter_->segment(normalized.text, segments);
  bool after_unknown = false;
  for (const ModelToken& segment : segments) {
    const std::size_t begin = first + normalized.origin[segment.first];
    const std::size_t end = first + normalized.origin[segment.last];
    const auto put = [&](std::int32_t id) {
      out.ids.push_back(id);
      if (!options.tokens) return;
      out.tokens.push_back({id, begin, end, is_special(id), which});
    };
    const bool unknown = segment.id == model_.unknown_id;
    if (unknown && model_.byte_fallback) {
      for (std::uint32_t i = segment.first; i < segment.last; ++i) {
        put(byte_ids_[static_cast<unsigned char>(normalized.text[i])]);
      }
    } else if (unknown && after_unknown) {  // a run of unknown characters is one token
      if (options.tokens) out.tokens.back().last = end;
    } else {
      put(segment.id);
    }
    after_unknown = unknown;
  }
}

// Text after a special token, by the rule of `legacy: false`: no space of its own, and one that is
// written survives the model's stripping.
void SentencePieceTokenizer::encode_after_token(std::string_view text, std::size_t first, int which,
                                                const EncodeOptions& options, Encoding& out) const {
  if (!model_.remove_extra_whitespaces || text.front() != ' ') {
    encode_part(false, text, first, which, options, out);
    return;
  }
  const std::string guard = model_.pieces[static_cast<std::size_t>(model_.unknown_id)].text;
  EncodeOptions with_tokens = options;
  with_tokens.tokens = true;
  Encoding lead, both;
  encode_part(false, guard, 0, which, options, lead);
  encode_part(false, guard + std::string(text), 0, which, with_tokens, both);
  const std::size_t skip = std::min(lead.ids.size(), both.ids.size());
  for (std::size_t i = skip; i < both.ids.size(); ++i) {
    Token& token = both.tokens[i];
    token.first = first + (token.first > guard.size() ? token.first - guard.size() : 0);
    token.last = first + (token.last > guard.size() ? token.last - guard.size() : 0);
    out.ids.push_back(token.id);
    if (options.tokens) out.tokens.push_back(std::move(token));
  }
}

void SentencePieceTokenizer::encode_text(std::string_view text, int which,
                                         const EncodeOptions& options, Encoding& out) const {
  if (text.size() > kMaxText) {
    throw Error(ErrorCode::length, "encode",
                "the text has " + std::to_string(text.size()) + " bytes, at most " +
                    std::to_string(kMaxText) + " are encoded at once");
  }
  std::vector<TextPart> parts;
  if (options.recognize && !split_specials_ && !added_.tokens().empty()) {
    parts = added_.split(text);
  } else if (!text.empty()) {
    parts.push_back({0, text.size(), nullptr});
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const TextPart& part = parts[i];
    if (part.token != nullptr) {
      out.ids.push_back(part.token->id);
      if (options.tokens) {
        out.tokens.push_back(
            {part.token->id, part.first, part.last, is_special(part.token->id), which});
      }
      continue;
    }
    const std::string_view stretch = text.substr(part.first, part.last - part.first);
    if (legacy_) {
      encode_part(model_.add_dummy_prefix, stretch, part.first, which, options, out);
    } else if (i == 0) {
      encode_part(prefix_space_ && model_.add_dummy_prefix, stretch, part.first, which, options,
                  out);
    } else {
      encode_after_token(stretch, part.first, which, options, out);
    }
  }
}

void SentencePieceTokenizer::put_in(std::optional<std::int32_t> id, const EncodeOptions& options,
                                    Encoding& out) const {
  if (!options.special || !id) return;
  out.ids.push_back(*id);
  if (options.tokens) out.tokens.push_back({*id, 0, 0, true, -1});
}

Encoding SentencePieceTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  Encoding out;
  if (add_bos_) put_in(specials_.bos, options, out);
  encode_text(text, 0, options, out);
  if (add_eos_) put_in(specials_.eos, options, out);
  return out;
}

Encoding SentencePieceTokenizer::encode_pair(std::string_view text, std::string_view pair,
                                             const EncodeOptions& options) const {
  Encoding out = encode(text, options);
  if (add_bos_) put_in(specials_.bos, options, out);
  encode_text(pair, 1, options, out);
  if (add_eos_) put_in(specials_.eos, options, out);
  return out;
}

}  // namespace perilune
