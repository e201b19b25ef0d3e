#include "engine/text/normalize/normalizer.h"

#include "engine/base/error.h"
#include "engine/text/normalize/steps.h"
#include "engine/text/pattern/step_list.h"
#include "engine/text/unicode/byte_level.h"
#include "engine/text/unicode/published_marks.h"
#include "engine/text/unicode/unicode.h"
#include "engine/text/unicode/unicode_form.h"

namespace perilune {
namespace {

class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(NormalForm form) : form_(form) {}
  void apply(AlignedText& text) const override { apply_form(text, form_); }

 private:
  NormalForm form_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(AlignedText& text) const override { lower_case(text); }
};

class StripAccents final : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    keep_if(text, [](char32_t c) { return !is_published_mark(c); });
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(AlignedText& text) const override {
    const std::string& bytes = text.text();
    std::uint32_t first = 0, last = text.size();
    while (left_ && first < last) {
      const Character c = character_at(bytes, first);
      if (!has_flag(c.value, kWhiteSpace)) break;
      first += c.size;
    }
    while (right_ && last > first) {
      std::uint32_t start = last - 1;
      while (start > first && (static_cast<unsigned char>(bytes[start]) & 0xC0) == 0x80) --start;
      if (!has_flag(character_at(bytes, start).value, kWhiteSpace)) break;
      last = start;
    }
    AlignedTextWriter writer(text);
    writer.keep(first, last);
    writer.finish();
  }

 private:
  bool left_, right_;
};

class Replace final : public Normalizer {
 public:
  Replace(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(AlignedText& text) const override {
    std::vector<TextSpan> matches;
    pattern_->find(text.text(), {0, text.size()}, matches);
    if (matches.empty()) return;
    AlignedTextWriter writer(text);
    std::uint32_t at = 0;
    for (const TextSpan& match : matches) {
      if (is_content(text.text(), match)) continue;
      writer.keep(at, match.first);
      if (match.first == match.last) {
        writer.insert(content_);
      } else {
        writer.replace(match.last - 1, match.last, content_);  // as published: its last character
      }
      at = match.last;
    }
    writer.keep(at, text.size());
    writer.finish();
  }

 private:
  // One character that stays what it is: spaces to a space.
  bool is_content(const std::string& text, const TextSpan& match) const {
    return match.last - match.first == content_.size() &&
           text.compare(match.first, content_.size(), content_) == 0 &&
           character_at(text, match.first).size == content_.size();
  }

  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(AlignedText& text) const override {
    if (text.size() == 0) return;
    AlignedTextWriter writer(text);
    writer.replace(0, character_at(text.text(), 0).size, prefix_);
    writer.keep(0, text.size());
    writer.finish();
  }

 private:
  std::string prefix_;
};

/// What neural translation models of 2017 cleaned: control characters out, odd spaces to one.
class Nmt final : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    keep_if(text, [](char32_t c) {
      return !((c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
               c == 0x8F || c == 0x9F);
    });
    map_characters(text, [](char32_t c) -> char32_t {
      const bool space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 ||
                         c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
      return space ? U' ' : c;
    });
  }
};

class ByteLevelText final : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    const std::string bytes = text.text();
    AlignedTextWriter writer(text);
    for (std::uint32_t at = 0; at < bytes.size(); ++at) {
      const auto byte = static_cast<unsigned char>(bytes[at]);
      if (byte_level_character(byte) == byte && byte < 0x80) {
        writer.keep(at, at + 1);
      } else {
        writer.replace(at, at + 1, byte_level_of_bytes(std::string_view(&bytes[at], 1)));
      }
    }
    writer.finish();
  }
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  void apply(AlignedText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

std::unique_ptr<Normalizer> read_sequence(const Json& json) {
  std::vector<std::unique_ptr<Normalizer>> steps;
  for (const Json& step : steps_of(json.get("normalizers"))) {
    if (auto read = read_normalizer(step)) steps.push_back(std::move(read));
  }
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<Normalizer> read_bert(const Json& json) {
  BertNormalizing options;
  options.clean_text = json.boolean("clean_text", true);
  options.handle_chinese_chars = json.boolean("handle_chinese_chars", true);
  options.lowercase = json.boolean("lowercase", true);
  options.strip_accents = json.boolean("strip_accents", options.lowercase);
  return make_bert_normalizer(options);
}

constexpr const char* kKnown =
    "known types are NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, "
    "Sequence, BertNormalizer, Precompiled, Nmt, ByteLevel";

}  // namespace

std::unique_ptr<Normalizer> make_unicode_normalizer(NormalForm form) {
  return std::make_unique<UnicodeForm>(form);
}

std::string normalize(std::string_view text, NormalForm form) {
  AlignedText aligned(text);
  apply_form(aligned, form);
  return aligned.text();
}

std::unique_ptr<Normalizer> read_normalizer(const Json& json) {
  if (json.is_null()) return nullptr;
  const std::string& type = json.string("type");
  if (type == "Sequence") return read_sequence(json);
  if (type == "BertNormalizer") return read_bert(json);
  if (type == "NFC") return make_unicode_normalizer(NormalForm::c);
  if (type == "NFD") return make_unicode_normalizer(NormalForm::d);
  if (type == "NFKC") return make_unicode_normalizer(NormalForm::kc);
  if (type == "NFKD") return make_unicode_normalizer(NormalForm::kd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelText>();
  if (type == "Prepend") return std::make_unique<Prepend>(json.string("prepend"));
  if (type == "Precompiled") return read_precompiled(json);
  if (type == "Strip") {
    return std::make_unique<Strip>(json.boolean("strip_left", true),
                                   json.boolean("strip_right", true));
  }
  if (type == "Replace") {
    return std::make_unique<Replace>(read_pattern(json.get("pattern")), json.string("content"));
  }
  throw Error(ErrorCode::unsupported, "tokenizer",
              json.place_of("type") + ": normalizer \"" + type + "\" is not known")
      .hint(kKnown);
}

}  // namespace perilune
