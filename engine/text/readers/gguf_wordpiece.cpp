// Kind bert: words begin with U+2581 there, and what continues a word is bare.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/utf8.h"
#include "engine/text/readers/gguf.h"
#include "engine/text/tokenizer/pipeline.h"

namespace perilune {
namespace {

constexpr std::string_view kWordStart = "\xE2\x96\x81";

// Older converters left every entry in brackets as it was, newer ones control tokens only.
bool keeps_spelling(const GgufVocabulary::Entry& entry) {
  if (entry.type == GgufTokenType::control || entry.type == GgufTokenType::unknown) return true;
  return entry.text.size() > 1 && entry.text.front() == '[' && entry.text.back() == ']';
}

Vocabulary spell_entries(const GgufVocabulary& from, bool& upper_case) {
  Vocabulary entries;
  for (std::size_t i = 0; i < from.entries.size(); ++i) {
    const GgufVocabulary::Entry& entry = from.entries[i];
    const auto id = static_cast<std::int32_t>(i);
    if (entry.text.empty() || entry.type == GgufTokenType::unused) continue;
    if (!is_utf8(entry.text)) {
      throw Error(ErrorCode::format, "load",
                  base_name(from.file->path()) + ": token " + std::to_string(i) + " is not UTF-8");
    }
    if (keeps_spelling(entry) || from.special(id)) {
      entries.emplace_back(entry.text, id);
      continue;
    }
    upper_case = upper_case || std::any_of(entry.text.begin(), entry.text.end(),
                                           [](char c) { return c >= 'A' && c <= 'Z'; });
    if (entry.text.compare(0, kWordStart.size(), kWordStart) == 0 &&
        entry.text.size() > kWordStart.size()) {
      entries.emplace_back(entry.text.substr(kWordStart.size()), id);
    } else {
      entries.emplace_back("##" + std::string(entry.text), id);
    }
  }
  return entries;
}

using Item = PostProcessing::Item;

PostProcessing around(const SpecialTokens& specials, bool first, bool last) {
  PostProcessing out;
  out.single.clear();
  out.pair.clear();
  if (first && specials.cls) out.single.push_back({-1, {*specials.cls}, 0});
  out.single.push_back({0, {}, 0});
  if (last && specials.sep) out.single.push_back({-1, {*specials.sep}, 0});
  out.pair = out.single;
  out.pair.push_back({1, {}, 1});
  if (last && specials.sep) out.pair.push_back({-1, {*specials.sep}, 1});
  return out;
}

}  // namespace

std::shared_ptr<Tokenizer> make_gguf_wordpiece(GgufVocabulary vocabulary) {
  const GgufFile& file = *vocabulary.file;
  const std::string name = base_name(file.path());
  bool upper_case = false;
  TokenizerParts parts;
  parts.kind = "wordpiece";
  parts.path = file.path();
  Vocabulary entries = spell_entries(vocabulary, upper_case);
  if (!vocabulary.specials.unk) {
    throw Error(ErrorCode::format, "load", name + ": there is no token for unknown words");
  }
  WordPieceOptions options;
  options.unknown = vocabulary.entry(*vocabulary.specials.unk).text;
  parts.model = make_wordpiece(std::move(entries), options, name);

  BertNormalizing normalizing;
  const auto lowercase = file.find_boolean("tokenizer.ggml.normalizer.lowercase");
  if (!lowercase && upper_case) {
    vocabulary.warnings.push_back(name +
                                  " has upper-case letters, so text keeps its case; the file does "
                                  "not say so (tokenizer.ggml.normalizer.lowercase)");
  }
  normalizing.lowercase = lowercase.value_or(!upper_case);
  normalizing.strip_accents =
      file.find_boolean("tokenizer.ggml.normalizer.strip_accents").value_or(normalizing.lowercase);
  parts.normalizer = make_bert_normalizer(normalizing);
  parts.pre_tokenizer = make_bert_pre_tokenizer();
  parts.decoder = make_wordpiece_decoder("##", true);
  parts.post_processing = around(vocabulary.specials, vocabulary.add_bos.value_or(true),
                                 vocabulary.add_sep.value_or(true));
  parts.added = vocabulary.added();
  parts.specials = vocabulary.specials;
  if (parts.specials.bos == parts.specials.cls) parts.specials.bos.reset();
  if (parts.specials.eos == parts.specials.sep) parts.specials.eos.reset();
  parts.chat_templates = std::move(vocabulary.chat_templates);
  parts.warnings = std::move(vocabulary.warnings);
  return make_tokenizer(std::move(parts));
}

}  // namespace perilune
