// Kind gpt2 and its kin: byte pair encoding.
#include <algorithm>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/utf8.h"
#include "engine/text/readers/gguf.h"
#include "engine/text/tokenizer/pipeline.h"
#include "engine/text/unicode/byte_level.h"

namespace perilune {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

constexpr const char* kMerges = "tokenizer.ggml.merges";
constexpr const char* kPre = "tokenizer.ggml.pre";

Merges read_merges(const GgufFile& file) {
  Merges merges;
  for (const std::string_view merge : file.strings(kMerges)) {
    const std::size_t space = merge.find(' ', 1);  // a merge may begin with a space
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      throw Error(ErrorCode::format, "load",
                  base_name(file.path()) + ": " + kMerges + ": entry " +
                      std::to_string(merges.size()) + " is not two pieces with a space between");
    }
    merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  return merges;
}

GgufPreTokenizer find_pre(GgufVocabulary& vocabulary) {
  std::string name(vocabulary.file->find_string(kPre).value_or(""));
  if (vocabulary.model == "gemma4") name = "gemma4";
  if (name.empty()) {
    vocabulary.warnings.push_back(
        std::string("there is no key ") + kPre +
        ", so text is cut by the default patterns, which may differ from the model's own");
    name = "default";
  }
  if (const GgufPreTokenizer* pre = gguf_pre_tokenizer(name)) return *pre;
  const std::string guess = did_you_mean(name.substr(0, 64), gguf_pre_tokenizer_names());
  throw Error(ErrorCode::unsupported, "load",
              base_name(vocabulary.file->path()) + ": " + kPre + " is \"" + name.substr(0, 64) +
                  "\", which is not known")
      .hint(guess.empty() ? "convert the file again; known are names such as llama-bpe and gpt-2"
                          : guess);
}

// Special and user-defined tokens are found in the text before the vocabulary is asked. Those that
// a merge needs are entries too.
std::unordered_set<std::string_view> needed(const std::vector<AddedToken>& added,
                                            const Merges& merges) {
  std::unordered_set<std::string_view> texts, found;
  for (const AddedToken& token : added) texts.insert(token.content);
  for (const auto& [left, right] : merges) {
    for (const std::string& text : {left, right, left + right}) {
      const auto at = texts.find(text);
      if (at != texts.end()) found.insert(*at);
    }
  }
  return found;
}

Vocabulary entries_of(const GgufVocabulary& vocabulary, const Merges& merges, bool characters,
                      std::vector<AddedToken>& added) {
  const auto kept = needed(added, merges);
  std::vector<bool> is_added(vocabulary.entries.size(), false);
  for (const AddedToken& token : added) {
    is_added[static_cast<std::size_t>(token.id)] = kept.count(token.content) == 0;
  }
  Vocabulary entries;
  for (std::size_t i = 0; i < vocabulary.entries.size(); ++i) {
    const GgufVocabulary::Entry& entry = vocabulary.entries[i];
    if (is_added[i] || entry.type == GgufTokenType::unused || entry.text.empty()) continue;
    std::string text(entry.text);
    const bool spelled = characters ? is_utf8(text) : bytes_of_byte_level(text).has_value();
    if (spelled) {
      entries.emplace_back(std::move(text), static_cast<std::int32_t>(i));
      continue;
    }
    // Not a spelling that merges could reach; it still has to be decoded.
    if (!is_utf8(text)) {
      throw Error(
          ErrorCode::format, "load",
          base_name(vocabulary.file->path()) + ": token " + std::to_string(i) + " is not UTF-8");
    }
    AddedToken token;
    token.id = static_cast<std::int32_t>(i);
    token.content = std::move(text);
    token.normalized = false;
    added.push_back(std::move(token));
  }
  return entries;
}

PostProcessing around(const GgufVocabulary& vocabulary, const GgufPreTokenizer& pre) {
  const SpecialTokens& specials = vocabulary.specials;
  const bool first = vocabulary.add_bos.value_or(pre.add_bos) && specials.bos;
  const bool last = vocabulary.add_eos.value_or(false) && specials.eos;
  const bool between = vocabulary.add_sep.value_or(pre.sentence_pairs) && specials.sep;
  PostProcessing out;
  out.trim_offsets = pre.sentence_pairs;
  out.add_prefix_space = vocabulary.add_space_prefix.value_or(false);
  const auto add = [&](std::vector<PostProcessing::Item>& to, int text, int type) {
    if (first && !(between && text == 1)) to.push_back({-1, {*specials.bos}, type});
    if (between && text == 1) to.push_back({-1, {*specials.sep}, type});
    to.push_back({text, {}, type});
    if (last) to.push_back({-1, {*specials.eos}, type});
  };
  out.single.clear();
  out.pair.clear();
  add(out.single, 0, 0);
  add(out.pair, 0, 0);
  add(out.pair, 1, between ? 0 : 1);
  return out;
}

// Vocabularies of characters: spaces are written U+2581, other characters may fall back to bytes.
void use_characters(TokenizerParts& parts, const GgufPreTokenizer& pre) {
  const auto json = [](const std::string& text) { return parse_json(text, "gguf"); };
  parts.normalizer =
      read_normalizer(json(R"({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})"));
  Json pattern, split;
  pattern.set("Regex", pre.patterns.at(0));
  split.set("type", "Split");
  split.set("pattern", pattern);
  split.set("behavior", "Isolated");
  split.set("invert", false);
  parts.pre_tokenizer = read_pre_tokenizer(split);
  parts.decoder = read_decoder(json(R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"}]})"));
}

}  // namespace

std::shared_ptr<Tokenizer> make_gguf_bpe(GgufVocabulary vocabulary) {
  const GgufFile& file = *vocabulary.file;
  const GgufPreTokenizer pre = find_pre(vocabulary);
  TokenizerParts parts;
  parts.kind = "bpe";
  parts.path = file.path();
  parts.added = vocabulary.added();
  for (AddedToken& token : parts.added) {
    token.lstrip = token.id == vocabulary.specials.mask;  // RoBERTa's and ModernBERT's
  }
  Merges merges = read_merges(file);
  Vocabulary entries = entries_of(vocabulary, merges, pre.characters, parts.added);
  BpeOptions options;
  options.raw_bytes = !pre.characters;
  options.ignore_merges = pre.ignore_merges;
  options.byte_fallback =
      pre.characters &&
      std::any_of(vocabulary.entries.begin(), vocabulary.entries.end(),
                  [](const auto& entry) { return entry.type == GgufTokenType::byte; });
  options.fuse_unknown = pre.characters;
  if (pre.characters && vocabulary.specials.unk) {
    const std::int32_t unknown = *vocabulary.specials.unk;
    options.unknown = vocabulary.entry(unknown).text;
    // The model names it, so it is an entry too.
    const bool there = std::any_of(entries.begin(), entries.end(),
                                   [&](const auto& entry) { return entry.second == unknown; });
    if (!there) entries.emplace_back(*options.unknown, unknown);
  }
  parts.model = make_bpe(std::move(entries), std::move(merges), options, base_name(file.path()));
  if (pre.characters) {
    use_characters(parts, pre);
  } else {
    parts.pre_tokenizer =
        make_byte_level(vocabulary.add_space_prefix.value_or(false), pre.patterns);
    parts.decoder = make_byte_level_decoder();
  }
  parts.post_processing = around(vocabulary, pre);
  parts.specials = vocabulary.specials;
  if (pre.sentence_pairs && !parts.specials.cls) parts.specials.cls = parts.specials.bos;
  parts.chat_templates = std::move(vocabulary.chat_templates);
  parts.warnings = std::move(vocabulary.warnings);
  return make_tokenizer(std::move(parts));
}

}  // namespace perilune
