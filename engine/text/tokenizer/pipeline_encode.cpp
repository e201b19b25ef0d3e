// Text to ids: added tokens, normalizer, pre-tokenizer, model, what is put around.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/text/tokenizer/pipeline_tokenizer.h"
#include "engine/text/unicode/byte_level.h"
#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

// A text whose ill-formed bytes became U+FFFD, and the way back to the caller's bytes.
class RepairedText {
 public:
  explicit RepairedText(std::string_view text) : text_(text) {
    if (is_utf8(text)) return;
    std::string repaired;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t good = utf8_character(text.substr(at));
      if (good > 0) {
        repaired += text.substr(at, good);
        at += good;
        continue;
      }
      at += ill_formed(text.substr(at));
      append_character(repaired, 0xFFFD);
      marks_.push_back({repaired.size(), at});
    }
    repaired_ = std::move(repaired);
    text_ = repaired_;
  }
  RepairedText(const RepairedText&) = delete;
  RepairedText& operator=(const RepairedText&) = delete;

  std::string_view text() const { return text_; }
  bool changed() const { return !marks_.empty(); }

  std::size_t original(std::size_t at) const {
    const auto next = std::upper_bound(marks_.begin(), marks_.end(), at,
                                       [](std::size_t a, const Mark& m) { return a < m.repaired; });
    if (next == marks_.begin()) return at;
    const Mark& mark = *(next - 1);
    return mark.original + (at - mark.repaired);
  }

 private:
  struct Mark {
    std::size_t repaired, original;  // just after a replacement
  };

  // Bytes that one U+FFFD stands for: as long as they could become a character.
  static std::size_t ill_formed(std::string_view text) {
    std::size_t length = 1;
    for (std::size_t i = 1; i <= std::min<std::size_t>(3, text.size()); ++i) {
      Utf8Buffer buffer(Utf8Replacement::subpart);
      std::string out;
      buffer.push(text.substr(0, i), out);
      if (!out.empty()) break;
      length = i;
    }
    return length;
  }

  std::string repaired_;
  std::string_view text_;
  std::vector<Mark> marks_;
};

constexpr std::string_view kByteLevelSpace = "\xC4\xA0";  // U+0120 stands for a space

bool trims(std::string_view text, std::size_t at, std::size_t size) {
  return text.substr(at, size) == kByteLevelSpace ||
         has_flag(character_at(text, at).value, kWhiteSpace);
}

std::size_t leading_spaces(std::string_view spelling) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < spelling.size(); ++count) {
    const std::size_t size = character_at(spelling, at).size;
    if (!trims(spelling, at, size)) break;
    at += size;
  }
  return count;
}

bool continues_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

std::size_t trailing_spaces(std::string_view spelling) {
  std::size_t count = 0;
  for (std::size_t end = spelling.size(); end > 0; ++count) {
    std::size_t start = end - 1;
    while (start > 0 && continues_character(spelling[start])) --start;
    if (!trims(spelling, start, end - start)) break;
    end = start;
  }
  return count;
}

}  // namespace

/// One text on its way to ids.
class TextEncoder {
 public:
  TextEncoder(const PipelineTokenizer& tokenizer, const EncodeOptions& options, int which,
              Encoding& out)
      : tokenizer_(tokenizer),
        parts_(tokenizer.parts_),
        options_(options),
        which_(which),
        recognize_(options.recognize && !parts_.split_specials),
        shows_unknown_(std::string_view(parts_.model->kind()) == "unigram"),
        first_token_(out.tokens.size()),
        out_(out) {}

  void run(std::string_view given) {
    if (given.size() >= std::size_t{1} << 31) {
      throw Error(ErrorCode::length, "encode", "the text is too long")
          .operand("text", std::to_string(given.size()) + " bytes")
          .operand("limit", std::to_string((std::size_t{1} << 31) - 1) + " bytes")
          .hint("encode it in parts");
    }
    const RepairedText repaired(given);
    text_ = repaired.text();
    if (text_.empty()) return;
    if (tokenizer_.raw_.empty()) {
      part({0, static_cast<std::uint32_t>(text_.size())});
    } else {
      std::vector<AddedStretch> stretches;
      tokenizer_.raw_.find(text_, recognize_, stretches);
      for (const AddedStretch& stretch : stretches) {
        if (stretch.token == nullptr) {
          part(stretch.span);
        } else {
          added(*stretch.token, stretch.span, cut(text_, stretch.span));
        }
      }
    }
    if (!repaired.changed()) return;
    for (std::size_t i = first_token_; i < out_.tokens.size(); ++i) {
      out_.tokens[i].first = repaired.original(out_.tokens[i].first);
      out_.tokens[i].last = repaired.original(out_.tokens[i].last);
    }
  }

 private:
  static std::string_view cut(std::string_view text, TextSpan span) {
    return text.substr(span.first, span.last - span.first);
  }

  // A stretch of the text without added tokens that are looked for before normalizing.
  void part(TextSpan span) {
    AlignedText text(cut(text_, span), span.first);
    if (parts_.normalizer != nullptr) parts_.normalizer->apply(text);
    if (tokenizer_.normalized_.empty()) return pieces(text);
    std::vector<AddedStretch> stretches;
    tokenizer_.normalized_.find(text.text(), recognize_, stretches);
    if (stretches.size() == 1 && stretches[0].token == nullptr) return pieces(text);
    for (const AddedStretch& stretch : stretches) {
      if (stretch.token != nullptr) {
        added(*stretch.token, text.origin(stretch.span.first, stretch.span.last),
              cut(text.text(), stretch.span));
        continue;
      }
      AlignedText slice = slice_of(text, stretch.span);
      pieces(slice);
    }
  }

  static AlignedText slice_of(const AlignedText& text, TextSpan span) {
    const std::string_view bytes = cut(text.text(), span);
    const std::uint32_t start = text.origin(span.first, span.last).first;
    AlignedText slice(bytes, start);
    if (!text.aligned()) return slice;
    std::vector<TextSpan> origin;
    origin.reserve(bytes.size());
    for (std::uint32_t i = span.first; i < span.last; ++i) origin.push_back(text.origin(i, i + 1));
    slice.assign(std::string(bytes), std::move(origin));
    return slice;
  }

  void pieces(AlignedText& text) {
    if (text.size() == 0) return;
    pieces_.assign(1, TextSpan{0, text.size()});
    if (parts_.pre_tokenizer != nullptr) parts_.pre_tokenizer->split(text, pieces_);
    if (parts_.spelled_bytes) spell_bytes(text);
    tokens_.clear();
    parts_.model->tokenize(text.text(), pieces_, tokens_);
    for (const ModelToken& token : tokens_) out_.ids.push_back(token.id);
    if (options_.tokens) {
      for (const ModelToken& token : tokens_) {
        // Several tokens of one byte: all but the first have an empty range after it.
        const bool same = token.first == token.last && token.first > 0;
        put(token.id, text.origin(token.first - (same ? 1 : 0), token.last), word_ + token.word,
            spelling_of(token, text.text()));
      }
    }
    word_ += static_cast<std::int32_t>(pieces_.size());
  }

  // Every byte as its byte-level character.
  void spell_bytes(AlignedText& text) {
    std::string spelled;
    std::vector<TextSpan> origin;
    std::vector<std::uint32_t> start;  // of each byte's character
    for (std::uint32_t i = 0; i < text.size(); ++i) {
      start.push_back(static_cast<std::uint32_t>(spelled.size()));
      append_character(spelled, byte_level_character(static_cast<unsigned char>(text.text()[i])));
      origin.resize(spelled.size(), text.origin(i, i + 1));
    }
    start.push_back(static_cast<std::uint32_t>(spelled.size()));
    for (TextSpan& piece : pieces_) piece = {start[piece.first], start[piece.last]};
    text.assign(std::move(spelled), std::move(origin));
  }

  // What trimming looks at. An unknown piece of a unigram model is its own text, as published.
  std::string_view spelling_of(const ModelToken& token, std::string_view text) const {
    const bool own = shows_unknown_ && parts_.model->unknown() == token.id;
    if (own) return text.substr(token.first, token.last - token.first);
    const std::string* spelling = parts_.model->piece(token.id);
    return spelling == nullptr ? std::string_view() : std::string_view(*spelling);
  }

  void added(const AddedToken& token, TextSpan span, std::string_view written) {
    out_.ids.push_back(token.id);
    if (options_.tokens) put(token.id, span, word_, written);
    ++word_;
  }

  void put(std::int32_t id, TextSpan span, std::int32_t word, std::string_view spelling) {
    Token token{id, span.first, span.last, tokenizer_.is_special(id), which_, word};
    if (parts_.post_processing.trim_offsets) trim(token, spelling);
    out_.tokens.push_back(token);
  }

  // White space that a token begins or ends with is outside its span, but for the space that was
  // put before the text. Counted in characters, as published.
  void trim(Token& token, std::string_view spelling) const {
    std::size_t leading = leading_spaces(spelling), trailing = trailing_spaces(spelling);
    const bool begins = out_.tokens.size() == first_token_ || token.first == 0;
    if (leading == 1 && begins && parts_.post_processing.add_prefix_space) leading = 0;
    for (; leading > 0 && token.first < token.last; --leading) {
      token.first += character_at(text_, token.first).size;
    }
    token.first = std::min(token.first, token.last);
    std::size_t end = token.last;
    for (; trailing > 0 && end > 0; --trailing) {
      --end;
      while (end > 0 && continues_character(text_[end])) --end;
    }
    if (trailing == 0) token.last = std::max(end, token.first);
  }

  const PipelineTokenizer& tokenizer_;
  const TokenizerParts& parts_;
  const EncodeOptions& options_;
  int which_;
  bool recognize_;  // special tokens in the text
  bool shows_unknown_;
  std::size_t first_token_;  // of this text in out_.tokens
  Encoding& out_;
  std::string_view text_;
  std::int32_t word_ = 0;
  std::vector<TextSpan> pieces_;
  std::vector<ModelToken> tokens_;
};

Encoding PipelineTokenizer::encode_items(const std::vector<PostProcessing::Item>& items,
                                         std::string_view text, std::string_view pair,
                                         const EncodeOptions& options) const {
  Encoding out;
  out.ids.reserve((text.size() + pair.size()) / 4 + 8);
  const bool typed = std::any_of(items.begin(), items.end(), [&](const PostProcessing::Item& item) {
    return item.type_id != 0 && (item.text >= 0 || options.special);
  });
  for (const PostProcessing::Item& item : items) {
    if (item.text >= 0) {
      TextEncoder(*this, options, item.text, out).run(item.text == 0 ? text : pair);
    } else if (options.special) {
      for (const std::int32_t id : item.ids) {
        out.ids.push_back(id);
        if (options.tokens) out.tokens.push_back({id, 0, 0, true, -1});
      }
    }
    if (typed) out.type_ids.resize(out.ids.size(), item.type_id);
  }
  return out;
}

Encoding PipelineTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return encode_items(parts_.post_processing.single, text, {}, options);
}

Encoding PipelineTokenizer::encode_pair(std::string_view text, std::string_view pair,
                                        const EncodeOptions& options) const {
  return encode_items(parts_.post_processing.pair, text, pair, options);
}

}  // namespace perilune
