// vocab.json and merges.txt: GPT-2 and what came after it.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/placeholder.h"
#include "engine/base/utf8.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/roles.h"
#include "engine/text/vocabulary/bpe_merge_lines.h"

namespace perilune {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{128} << 20;
constexpr std::int64_t kMaxId = (1 << 24) - 1;

enum class Around { nothing, roberta, clip, bert, whisper };

// What a class does that no file says.
struct Rules {
  std::vector<const char*> classes, model_types;
  RoleDefaults roles;
  Around around = Around::nothing;
  const char* normalizer = nullptr;     // JSON
  const char* pre_tokenizer = nullptr;  // JSON; null: byte-level by GPT-2's pattern
  const char* pattern = nullptr;        // byte-level by this one
  const char* suffix = "";              // of a word's last piece
};

const std::vector<Rules>& known_rules() {
  static const char* const kEnd = "<|endoftext|>";
  static const RoleDefaults kGpt2 = {kEnd, kEnd, kEnd, nullptr, nullptr, nullptr, nullptr, false};
  static const RoleDefaults kRoberta = {"<s>", "</s>", "<unk>",  "<pad>",
                                        "<s>", "</s>", "<mask>", true};
  static const std::vector<Rules> table = {
      {{"GPT2Tokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer"},
       {"gpt2", "gpt_neo", "gptj", "codegen", "gpt_neox", "phi", "opt", "gpt_bigcode"},
       kGpt2},
      {{"RobertaTokenizer", "BartTokenizer", "LongformerTokenizer", "LEDTokenizer", "MvpTokenizer"},
       {"roberta", "bart", "longformer", "led", "mvp", "data2vec-text"},
       kRoberta,
       Around::roberta},
      {{"Qwen2Tokenizer"},
       {"qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen2_vl"},
       {nullptr, kEnd, nullptr, kEnd, nullptr, nullptr, nullptr, false},
       Around::nothing,
       R"({"type": "NFC"})",
       nullptr,
       kQwenPattern},
      {{"CLIPTokenizer"},
       {"clip", "clip_text_model"},
       {"<|startoftext|>", kEnd, kEnd, kEnd, nullptr, nullptr, nullptr, false},
       Around::clip,
       R"({"type": "Sequence", "normalizers": [{"type": "NFC"},
           {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
           {"type": "Lowercase"}]})",
       R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex":
           "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"},
           "behavior": "Removed", "invert": true},
           {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true}]})",
       nullptr,
       "</w>"},
      {{"DebertaTokenizer"},
       {"deberta"},
       {nullptr, nullptr, "[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", true},
       Around::bert},
      {{"WhisperTokenizer"}, {"whisper"}, kGpt2, Around::whisper},
  };
  return table;
}

const Rules& rules_of(const TokenizerConfig* config, const std::string& path) {
  const std::vector<Rules>& table = known_rules();
  if (config == nullptr) return table.front();
  const std::string name = class_of(*config);
  if (name.empty() && config->model_type.empty()) return table.front();
  std::string known;
  for (const Rules& rules : table) {
    const auto& names = name.empty() ? rules.model_types : rules.classes;
    const std::string& wanted = name.empty() ? config->model_type : name;
    if (std::find(names.begin(), names.end(), wanted) != names.end()) return rules;
    for (const char* one : rules.classes) known += (known.empty() ? "" : ", ") + std::string(one);
  }
  refuse_class(path, name.empty() ? "(model type " + config->model_type + ")" : name, known);
}

Vocabulary read_vocabulary(const std::string& path) {
  const Json json = read_json(path);
  Vocabulary vocabulary;
  for (const auto& [piece, id] : json.members()) {
    const std::int64_t value = id.as_integer(json.place());
    if (value < 0 || value > kMaxId) {
      throw Error(ErrorCode::format, "load",
                  base_name(path) + ": \"" + piece.substr(0, 100) + "\" has id " +
                      std::to_string(value) + "; ids are from 0 to " + std::to_string(kMaxId));
    }
    vocabulary.emplace_back(piece, static_cast<std::int32_t>(value));
  }
  return vocabulary;
}

std::vector<std::pair<std::string, std::string>> read_merges(const std::string& path,
                                                             const Vocabulary& vocabulary) {
  const std::string text = read_file(path, kMaxBytes);
  refuse_placeholder(text, path);
  if (!is_utf8(text)) {
    throw Error(ErrorCode::format, "load", base_name(path) + " is not UTF-8 text");
  }
  std::vector<std::pair<std::string, std::string>> merges;
  MergeLines lines(vocabulary);
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.starts_with("#version")) continue;
    auto parts = lines.read(line);
    if (!parts) {
      throw Error(ErrorCode::format, "load",
                  base_name(path) + ": line " + std::to_string(number) +
                      ": expected two entries with a space between them");
    }
    merges.push_back(std::move(*parts));
  }
  return merges;
}

std::string spelling_of(const TokenizerConfig::Role& role, const char* otherwise) {
  return role.token ? role.token->content : otherwise;
}

// <s> A </s></s> B </s>, all of type 0.
void put_twice_between(TokenizerParts& parts, std::int32_t first, std::int32_t end) {
  auto& post = parts.post_processing;
  post.single = {special_item(first), text_item(0), special_item(end)};
  post.pair = {special_item(first), text_item(0), special_item(end),
               special_item(end),   text_item(1), special_item(end)};
}

void put_types(TokenizerParts& parts, std::int32_t first, std::int32_t end) {
  auto& post = parts.post_processing;
  post.single = {special_item(first), text_item(0), special_item(end)};
  post.pair = {special_item(first), text_item(0), special_item(end), text_item(1, 1),
               special_item(end, 1)};
}

void put_whisper(TokenizerParts& parts, const TokenizerConfig& config) {
  const std::int32_t start = required_id(parts, "<|startoftranscript|>");
  const std::int32_t no_times = required_id(parts, "<|notimestamps|>");
  const std::int32_t end = required_id(parts, spelling_of(config.eos, "<|endoftext|>"));
  auto& post = parts.post_processing;
  post.single = {special_item(start), special_item(no_times), text_item(0), special_item(end)};
  post.pair = {special_item(start), special_item(no_times), text_item(0), text_item(1, 1),
               special_item(end, 1)};
}

void put_begin_and_end(TokenizerParts& parts, const TokenizerConfig& config) {
  auto& post = parts.post_processing;
  const auto& bos = parts.specials.bos;
  const auto& eos = parts.specials.eos;
  if (config.add_bos.value_or(false) && bos) {
    post.single = {special_item(*bos), text_item(0)};
    post.pair = {special_item(*bos), text_item(0), special_item(*bos, 1), text_item(1, 1)};
  }
  if (config.add_eos.value_or(false) && eos) {
    post.single.push_back(special_item(*eos));
    post.pair.push_back(special_item(*eos, 1));
  }
}

void put_around(TokenizerParts& parts, const TokenizerConfig& config, const Rules& rules) {
  const auto id = [&](const TokenizerConfig::Role& role, const char* otherwise) {
    return required_id(parts, spelling_of(role, otherwise));
  };
  switch (rules.around) {
    case Around::nothing: put_begin_and_end(parts, config); break;
    case Around::roberta:
      put_twice_between(parts, id(config.cls, "<s>"), id(config.sep, "</s>"));
      parts.post_processing.trim_offsets = true;
      break;
    case Around::clip:
      put_twice_between(parts, id(config.bos, "<|startoftext|>"), id(config.eos, "<|endoftext|>"));
      break;
    case Around::bert: put_types(parts, id(config.cls, "[CLS]"), id(config.sep, "[SEP]")); break;
    case Around::whisper: put_whisper(parts, config); break;
  }
}

std::unique_ptr<PreTokenizer> pre_tokenizer_of(const Rules& rules, bool prefix_space) {
  if (rules.pre_tokenizer != nullptr) {
    return read_pre_tokenizer(parse_json(rules.pre_tokenizer, "pre-tokenizer"));
  }
  return make_byte_level(prefix_space, {rules.pattern == nullptr ? kGpt2Pattern : rules.pattern});
}

}  // namespace

std::shared_ptr<Tokenizer> load_bpe_files(const std::string& vocab_path,
                                          const std::string& merges_path,
                                          const TokenizerConfig* config) {
  const Rules& rules = rules_of(config, vocab_path);
  const bool prefix_space = config != nullptr && config->add_prefix_space.value_or(false);
  TokenizerParts parts;
  parts.kind = "bpe";
  parts.path = vocab_path;
  if (rules.normalizer != nullptr) {
    parts.normalizer = read_normalizer(parse_json(rules.normalizer, "normalizer"));
  }
  parts.pre_tokenizer = pre_tokenizer_of(rules, prefix_space);
  BpeOptions options;
  options.raw_bytes = parts.pre_tokenizer->raw_bytes();
  options.end_of_word_suffix = rules.suffix;
  if (*rules.suffix != '\0') options.unknown = rules.roles.unk;
  Vocabulary vocabulary = read_vocabulary(vocab_path);
  auto merges = read_merges(merges_path, vocabulary);
  parts.model = make_bpe(std::move(vocabulary), std::move(merges), options,
                         base_name(vocab_path) + " and " + base_name(merges_path));
  parts.decoder = make_byte_level_decoder();
  parts.post_processing.add_prefix_space = prefix_space;
  if (config == nullptr) {
    name_roles(parts, rules.roles);
  } else {
    apply_config(parts, *config, rules.roles);
    put_around(parts, *config, rules);
  }
  return make_tokenizer(std::move(parts));
}

}  // namespace perilune
