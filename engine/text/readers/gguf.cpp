// Reading `tokenizer.ggml.*` of a GGUF file.
#include "engine/text/readers/gguf.h"

#include <algorithm>
#include <array>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/utf8.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/pipeline.h"

namespace perilune {
namespace {

constexpr std::size_t kMaxTokens = std::size_t{1} << 22;
constexpr const char* kModels = "gpt2, llama, bert, t5, gemma4";

using Id = std::optional<std::int32_t>;

// Texts that end a turn: special whatever the file says of their type.
constexpr std::string_view kEnds[] = {"<|eot_id|>", "<|im_end|>",      "<|end|>",
                                      "<|return|>", "<|call|>",        "<|flush|>",
                                      "<|calls|>",  "<end_of_turn>",   "<|endoftext|>",
                                      "<|eom_id|>", "<EOT>",           "[EOT]",
                                      "[EOS]",      "<|end_of_text|>", "<end_of_utterance>",
                                      "<eos>",      "<turn|>",         "<｜end▁of▁sentence｜>"};

std::string place(const GgufFile& file) {
  return base_name(file.path());
}

[[noreturn]] void fail(const GgufFile& file, const std::string& problem) {
  throw Error(ErrorCode::format, "load", place(file) + ": " + problem);
}

void read_entries(GgufVocabulary& vocabulary) {
  const GgufFile& file = *vocabulary.file;
  const std::vector<std::string_view> tokens = file.strings("tokenizer.ggml.tokens");
  if (tokens.empty() || tokens.size() > kMaxTokens) {
    fail(file, "tokenizer.ggml.tokens has " + std::to_string(tokens.size()) +
                   " entries, expected 1 to " + std::to_string(kMaxTokens));
  }
  constexpr const char* kTypes = "tokenizer.ggml.token_type";
  std::vector<std::int64_t> types;
  if (file.has(kTypes)) types = file.integers(kTypes);
  if (!types.empty() && types.size() != tokens.size()) {
    fail(file, std::string(kTypes) + " has " + std::to_string(types.size()) +
                   " entries, tokenizer.ggml.tokens " + std::to_string(tokens.size()));
  }
  vocabulary.entries.resize(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    GgufVocabulary::Entry& entry = vocabulary.entries[i];
    entry.text = tokens[i];
    if (!types.empty() && types[i] >= 1 && types[i] <= 6) {
      entry.type = static_cast<GgufTokenType>(types[i]);
    }
    if (entry.text.empty()) entry.type = GgufTokenType::unused;
  }
}

// The id under `key`, else `fallback`; none where it is no entry.
Id role(GgufVocabulary& vocabulary, std::initializer_list<const char*> keys, Id fallback) {
  const auto count = static_cast<std::int64_t>(vocabulary.entries.size());
  for (const char* key : keys) {
    const auto id = vocabulary.file->find_integer(std::string("tokenizer.ggml.") + key);
    if (!id) continue;
    if (*id >= 0 && *id < count &&
        !vocabulary.entries[static_cast<std::size_t>(*id)].text.empty()) {
      return static_cast<std::int32_t>(*id);
    }
    // What converters write for "none".
    const bool none = *id == -1 || *id == std::numeric_limits<std::uint32_t>::max();
    if (!none) {
      vocabulary.warnings.push_back(std::string("tokenizer.ggml.") + key + " is " +
                                    std::to_string(*id) + ", and there are " +
                                    std::to_string(count) + " tokens; it is left out");
    }
    return std::nullopt;
  }
  return fallback && *fallback < count ? fallback : std::nullopt;
}

// Defaults are llama.cpp's for files that are silent.
void read_roles(GgufVocabulary& vocabulary) {
  SpecialTokens defaults;
  if (vocabulary.model == "llama") {
    defaults.bos = 1, defaults.eos = 2, defaults.unk = 0;
  } else if (vocabulary.model == "bert") {
    defaults.cls = 101, defaults.unk = 100, defaults.sep = 102, defaults.pad = 0;
    defaults.mask = 103;
  } else if (vocabulary.model == "t5") {
    defaults.eos = 1, defaults.unk = 2, defaults.pad = 0;
  }
  SpecialTokens& specials = vocabulary.specials;
  specials.bos = role(vocabulary, {"bos_token_id"}, defaults.bos);
  specials.eos = role(vocabulary, {"eos_token_id"}, defaults.eos);
  specials.unk = role(vocabulary, {"unknown_token_id"}, defaults.unk);
  specials.pad = role(vocabulary, {"padding_token_id"}, defaults.pad);
  specials.mask = role(vocabulary, {"mask_token_id"}, defaults.mask);
  // The misspelling is the published key.
  specials.sep = role(vocabulary, {"seperator_token_id", "separator_token_id"}, defaults.sep);
  const Id first = vocabulary.model == "bert" && specials.bos ? specials.bos : defaults.cls;
  specials.cls = role(vocabulary, {"cls_token_id"}, first);
  for (const char* key : {"eot_token_id", "eom_token_id"}) {
    if (const Id id = role(vocabulary, {key}, std::nullopt)) {
      vocabulary.also_special.push_back(*id);
    }
  }
  for (std::size_t i = 0; i < vocabulary.entries.size(); ++i) {
    const std::string_view text = vocabulary.entries[i].text;
    if (std::find(std::begin(kEnds), std::end(kEnds), text) != std::end(kEnds)) {
      vocabulary.also_special.push_back(static_cast<std::int32_t>(i));
    }
  }
}

void read_templates(GgufVocabulary& vocabulary) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  for (const std::string& key : vocabulary.file->keys()) {
    if (key.compare(0, kKey.size(), kKey) != 0) continue;
    const std::string_view rest = std::string_view(key).substr(kKey.size());
    if (!rest.empty() && (rest.front() != '.' || rest.size() == 1)) continue;
    const std::string_view source = vocabulary.file->string(key);
    if (!is_utf8(source)) fail(*vocabulary.file, key + " is not UTF-8 text");
    vocabulary.chat_templates.emplace(rest.empty() ? "default" : rest.substr(1), source);
  }
}

}  // namespace

bool GgufVocabulary::special(std::int32_t id) const {
  if (entry(id).type == GgufTokenType::control) return true;
  for (const auto& role : {specials.bos, specials.eos, specials.pad, specials.unk, specials.cls,
                           specials.sep, specials.mask}) {
    if (role == id) return true;
  }
  return std::find(also_special.begin(), also_special.end(), id) != also_special.end();
}

std::vector<AddedToken> GgufVocabulary::added() const {
  std::vector<AddedToken> tokens;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    AddedToken token;
    token.id = static_cast<std::int32_t>(i);
    token.special = special(token.id);
    if (!token.special && entries[i].type != GgufTokenType::user) continue;
    if (entries[i].text.empty()) continue;
    if (!is_utf8(entries[i].text)) {
      fail(*file, "token " + std::to_string(i) + " is looked for in text and is not UTF-8");
    }
    token.content = entries[i].text;
    token.normalized = false;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::shared_ptr<Tokenizer> read_gguf_tokenizer(const GgufFile& file, std::string* why_not) {
  const std::optional<std::string_view> model = file.find_string("tokenizer.ggml.model");
  if (!model || *model == "none" || *model == "no_vocab") {
    if (why_not != nullptr) {
      *why_not = place(file) + " holds no tokenizer" +
                 (model ? "" : " (no key tokenizer.ggml.model)") + ": the model takes ids";
    }
    return nullptr;
  }
  GgufVocabulary vocabulary;
  vocabulary.file = &file;
  vocabulary.model = *model;
  const bool bpe = *model == "gpt2" || *model == "gemma4";
  if (!bpe && *model != "llama" && *model != "bert" && *model != "t5") {
    throw Error(ErrorCode::unsupported, "load",
                place(file) + ": tokenizer.ggml.model is \"" + std::string(model->substr(0, 64)) +
                    "\", which is not supported")
        .hint(std::string("the known models are ") + kModels);
  }
  read_entries(vocabulary);
  read_roles(vocabulary);
  read_templates(vocabulary);
  vocabulary.add_bos = file.find_boolean("tokenizer.ggml.add_bos_token");
  vocabulary.add_eos = file.find_boolean("tokenizer.ggml.add_eos_token");
  vocabulary.add_sep = file.find_boolean("tokenizer.ggml.add_sep_token");
  vocabulary.add_space_prefix = file.find_boolean("tokenizer.ggml.add_space_prefix");
  if (bpe) return make_gguf_bpe(std::move(vocabulary));
  if (*model == "bert") return make_gguf_wordpiece(std::move(vocabulary));
  return make_gguf_sentencepiece(std::move(vocabulary));
}

std::shared_ptr<Tokenizer> load_gguf_tokenizer(const std::string& path, std::string* why_not) {
  return read_gguf_tokenizer(*GgufFile::open(path), why_not);
}

}  // namespace perilune
