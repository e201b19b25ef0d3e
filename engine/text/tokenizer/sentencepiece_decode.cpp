// Ids to text as the library's Decode does it, one id at a time.
#include "engine/base/error.h"
#include "engine/text/tokenizer/sentencepiece.h"

namespace perilune {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581 stands for a space

std::string with_spaces(std::string_view piece) {
  std::string text;
  for (;;) {
    const std::size_t at = piece.find(kSpace);
    text += piece.substr(0, at);
    if (at == std::string_view::npos) return text;
    text += ' ';
    piece.remove_prefix(at + kSpace.size());
  }
}

int hex_digit(char c) {
  return c <= '9' ? c - '0' : c - 'A' + 10;
}

}  // namespace

class SentencePieceDecoder final : public StreamDecoder {
 public:
  SentencePieceDecoder(std::shared_ptr<const Tokenizer> keep,
                       const SentencePieceTokenizer& tokenizer, const DecodeOptions& options)
      : keep_(std::move(keep)),
        tokenizer_(tokenizer),
        options_(options),
        strip_(strips_at_start()) {}

  std::string push(std::int32_t id) override {
    tokenizer_.check_id(id);
    std::string text;
    append(id, text);
    if (!text.empty()) empty_ = false;
    return cleaned(text);
  }

  std::string flush() override {
    std::string text;
    bytes_.flush(text);
    std::string out = cleaned(text);
    if (tokenizer_.clean_up_) clean_up_.flush(out);
    empty_ = true;
    seen_ = false;
    strip_ = strips_at_start();
    return out;
  }

 private:
  using Type = SentencePieceModel::Type;

  bool strips_at_start() const {
    const SentencePieceModel& model = tokenizer_.model_;
    return !options_.continues && (model.add_dummy_prefix || model.remove_extra_whitespaces);
  }

  void append(std::int32_t id, std::string& out) {
    const AddedToken* added = tokenizer_.added_.find(id);
    if (tokenizer_.is_byte(id) && added == nullptr) {
      const std::string& piece = tokenizer_.model_.pieces[static_cast<std::size_t>(id)].text;
      const char byte = static_cast<char>(hex_digit(piece[3]) * 16 + hex_digit(piece[4]));
      bytes_.push({&byte, 1}, out);
      return;
    }
    bytes_.flush(out);
    if (!out.empty()) empty_ = false;
    if (seen_ || !empty_) strip_ = false;
    seen_ = false;
    if (tokenizer_.is_special(id) && !options_.special) return;
    if (added != nullptr) {
      out += added->content;
    } else {
      append_piece(id, out);
    }
  }

  // Only the first space goes, or all of them where the model strips white space itself.
  void append_piece(std::int32_t id, std::string& out) {
    const SentencePieceModel& model = tokenizer_.model_;
    const auto& entry = model.pieces[static_cast<std::size_t>(id)];
    if (entry.type == Type::control) {
      out += entry.text;
    } else if (entry.type == Type::unknown) {
      out += model.unk_surface;
    } else {
      std::string_view piece = entry.text;
      if (strip_ && piece.substr(0, kSpace.size()) == kSpace) {
        piece.remove_prefix(kSpace.size());
        seen_ = !model.remove_extra_whitespaces;
      }
      out += with_spaces(piece);
    }
  }

  std::string cleaned(const std::string& text) {
    if (!tokenizer_.clean_up_) return text;
    std::string out;
    clean_up_.push(text, out);
    return out;
  }

  std::shared_ptr<const Tokenizer> keep_;
  const SentencePieceTokenizer& tokenizer_;
  DecodeOptions options_;
  Utf8Buffer bytes_{Utf8Replacement::byte};
  StreamCleanUp clean_up_;
  bool empty_ = true;  // no text so far
  bool seen_ = false;  // the last piece gave its space away
  bool strip_;         // the next piece's leading space is the one encoding put in
};

std::unique_ptr<StreamDecoder> SentencePieceTokenizer::decoder(const DecodeOptions& options) const {
  return std::make_unique<SentencePieceDecoder>(weak_from_this().lock(), *this, options);
}

std::string SentencePieceTokenizer::join(std::span<const std::string> pieces) const {
  std::string text;
  for (const std::string& piece : pieces) text += with_spaces(piece);
  const bool strips = model_.add_dummy_prefix || model_.remove_extra_whitespaces;
  if (strips && !text.empty() && text[0] == ' ') text.erase(0, 1);
  return text;
}

}  // namespace perilune
