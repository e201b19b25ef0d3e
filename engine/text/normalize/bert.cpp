// BERT's normalizer (Devlin et al. 2018).
#include "engine/text/normalize/normalizer.h"
#include "engine/text/normalize/steps.h"
#include "engine/text/unicode/published_marks.h"
#include "engine/text/unicode/unicode.h"

namespace perilune {
namespace {

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

// The published steps, one after the other.
void clean(AlignedText& text) {
  keep_if(text, [](char32_t c) { return !is_published_control(c); });
  map_characters(text, [](char32_t c) -> char32_t { return has_flag(c, kWhiteSpace) ? U' ' : c; });
}

void space_chinese(AlignedText& text) {
  const std::string& bytes = text.text();
  AlignedTextWriter writer(text);
  std::uint32_t from = 0, at = 0;
  while (at < bytes.size()) {
    const Character c = character_at(bytes, at);
    if (is_chinese(c.value)) {
      writer.keep(from, at);
      writer.replace(at, at + c.size, " " + bytes.substr(at, c.size) + " ");
      from = at + c.size;
    }
    at += c.size;
  }
  writer.keep(from, at);
  writer.finish();
}

/// All steps in one pass over the text. It gives up where a combining mark stays: then the order of
/// marks matters, which only the steps know.
class OnePass {
 public:
  OnePass(const BertNormalizing& options, AlignedText& text)
      : options_(options), old_(text.text()), writer_(text) {}

  bool run() {
    const auto size = static_cast<std::uint32_t>(old_.size());
    while (at_ < size) {
      if (static_cast<unsigned char>(old_[at_]) < 0x80) {
        ascii(static_cast<std::uint32_t>(ascii_end(old_, at_)));
      } else if (!other(character_at(old_, at_))) {
        return false;
      }
    }
    writer_.keep(from_, size);
    writer_.finish();
    return true;
  }

 private:
  void ascii(std::uint32_t end) {
    while (at_ < end) {
      std::uint32_t stop = end;
      if (options_.clean_text) {
        for (stop = at_; stop < end && !is_ascii_control(old_[stop]);) ++stop;
      }
      made_.assign(old_, at_, stop - at_);
      bool changed = false;
      if (options_.clean_text) {
        for (char& c : made_) {
          if (static_cast<unsigned char>(c) >= 0x20) continue;
          c = ' ';  // of the white space that is left
          changed = true;
        }
      }
      if (options_.lowercase && lower_ascii(made_)) changed = true;
      if (changed) {
        writer_.keep(from_, at_);
        writer_.overlay(at_, stop, made_);
        from_ = stop;
      }
      at_ = stop;
      if (at_ < end) drop(1);
    }
  }

  static bool is_ascii_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F;
  }

  void drop(std::uint32_t size) {
    writer_.keep(from_, at_);
    at_ += size;
    from_ = at_;
  }

  bool other(const Character& c) {
    char32_t value = c.value;
    if (options_.clean_text) {
      if (is_published_control(value)) return drop(c.size), true;
      if (has_flag(value, kWhiteSpace)) value = U' ';
    }
    const bool chinese = options_.handle_chinese_chars && is_chinese(value);
    parts_.clear();
    if (options_.strip_accents) {
      append_decomposition(value, false, parts_);
      std::size_t kept = 0;
      for (const char32_t part : parts_) {
        if (is_published_nonspacing_mark(part)) continue;
        if (combining_class(part) != 0) return false;
        parts_[kept++] = part;
      }
      parts_.resize(kept);
    } else {
      parts_ += value;
    }
    const bool lowers =
        options_.lowercase && parts_.size() == 1 ? has_lower_case(parts_[0]) : options_.lowercase;
    if (!chinese && !lowers && parts_.size() == 1 && parts_[0] == c.value) {
      at_ += c.size;
      return true;
    }
    made_.assign(chinese ? " " : "");
    for (const char32_t part : parts_) {
      if (lowers) {
        append_lower_case(made_, part);
      } else {
        append_character(made_, part);
      }
    }
    if (chinese) made_ += ' ';
    writer_.keep(from_, at_);
    if (!made_.empty()) writer_.replace(at_, at_ + c.size, made_);
    at_ += c.size;
    from_ = at_;
    return true;
  }

  const BertNormalizing& options_;
  const std::string& old_;
  AlignedTextWriter writer_;
  std::uint32_t from_ = 0, at_ = 0;  // written up to from_, read up to at_
  std::string made_;
  std::u32string parts_;
};

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const BertNormalizing& options) : options_(options) {}

  void apply(AlignedText& text) const override {
    if (OnePass(options_, text).run()) return;
    if (options_.clean_text) clean(text);
    if (options_.handle_chinese_chars) space_chinese(text);
    if (options_.strip_accents) {
      apply_form(text, NormalForm::d);
      keep_if(text, [](char32_t c) { return !is_published_nonspacing_mark(c); });
    }
    if (options_.lowercase) lower_case(text);
  }

 private:
  BertNormalizing options_;
};

}  // namespace

std::unique_ptr<Normalizer> make_bert_normalizer(const BertNormalizing& options) {
  return std::make_unique<BertNormalizer>(options);
}

}  // namespace perilune
