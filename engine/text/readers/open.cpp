#include "engine/text/readers/open.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/placeholder.h"
#include "engine/files/whisper/whisper_file.h"
#include "engine/text/tokenizer/fairseq.h"
#include "engine/text/tokenizer/sentencepiece.h"

namespace perilune {
namespace {

constexpr std::uint64_t kMaxModelBytes = std::uint64_t{128} << 20;

bool any_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Lines of base64, a space and a number: tiktoken ranks go by the same name, tokenizer.model.
bool looks_like_ranks(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, std::min(bytes.find('\n'), std::size_t{400}));
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 >= line.size()) return false;
  const auto all = [](std::string_view part, std::string_view allowed) {
    return part.find_first_not_of(allowed) == std::string_view::npos;
  };
  return all(line.substr(0, space),
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") &&
         all(line.substr(space + 1), "0123456789\r");
}

// The rules of the class that published models name; nullopt: one we do not know.
std::optional<SentencePieceRules> rules_of(const TokenizerConfig& config, const std::string& file) {
  const SentencePieceRules llama{true, false, true, 0}, t5{false, true, true, 100};
  const std::string& name = config.tokenizer_class;
  if (any_of(name, {"LlamaTokenizer", "GemmaTokenizer"})) return llama;
  if (name == "CodeLlamaTokenizer") return SentencePieceRules{true, false, false, 0};
  if (name == "T5Tokenizer") return t5;
  if (any_of(name, {"MT5Tokenizer", "UMT5Tokenizer"}))
    return SentencePieceRules{false, true, true, 0};
  const bool generic = any_of(name, {"", "PreTrainedTokenizer", "TokenizersBackend"});
  if (!generic) return std::nullopt;
  if (config.model_type == "t5") return t5;
  if (any_of(config.model_type, {"mt5", "umt5"})) return SentencePieceRules{false, true, true, 0};
  if (file == "spiece.model") {
    if (config.model_type.empty()) return t5;
    return std::nullopt;
  }
  return llama;
}

std::shared_ptr<Tokenizer> refuse(std::string* why_not, std::string reason) {
  if (why_not != nullptr) *why_not = std::move(reason) + ": the model takes ids";
  return nullptr;
}

// What is read: a file, with the settings of its folder or (null) alone.
struct Source {
  std::string path;
  const TokenizerConfig* config = nullptr;
  const TokenizerLoad& options;
  std::string* why_not = nullptr;
};

std::shared_ptr<Tokenizer> load_ranks(const Source& source) {
  const auto& pattern = source.options.pattern;
  return load_tiktoken(source.path, source.config, pattern ? &*pattern : nullptr);
}

// A .model file: SentencePiece's, or ranks.
std::shared_ptr<Tokenizer> load_model_file(const Source& source) {
  const std::string name = base_name(source.path);
  const std::string bytes = read_file(source.path, kMaxModelBytes);
  refuse_placeholder(bytes, source.path);
  if (looks_like_ranks(bytes)) return load_ranks(source);
  if (source.config == nullptr) {
    return std::make_shared<SentencePieceTokenizer>(parse_sentencepiece(bytes, name), source.path);
  }
  const TokenizerConfig& config = *source.config;
  const std::optional<SentencePieceRules> rules = rules_of(config, name);
  SentencePieceModel model = parse_sentencepiece(bytes, name);
  if (is_fairseq(config)) return make_fairseq_tokenizer(model, source.path, config);
  if (!rules) {
    const bool by_class = !config.tokenizer_class.empty();
    return refuse(source.why_not, name + " of " +
                                      (by_class ? "class " + config.tokenizer_class
                                                : "model type " + config.model_type) +
                                      " is not understood yet");
  }
  return std::make_shared<SentencePieceTokenizer>(std::move(model), source.path, config, *rules);
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::string with_ending(const std::string& path, std::string_view before, std::string_view after) {
  return path.substr(0, path.size() - before.size()) + std::string(after);
}

std::shared_ptr<Tokenizer> load_bpe_pair(const std::string& vocab, const std::string& merges,
                                         const TokenizerConfig* config) {
  for (const std::string& file : {vocab, merges}) {
    if (file_exists(file)) continue;
    const std::string& other = &file == &vocab ? merges : vocab;
    throw Error(ErrorCode::file, "load",
                base_name(other) + " needs " + base_name(file) + " beside it, which is missing");
  }
  return load_bpe_files(vocab, merges, config);
}

// A file by its name, and where that says nothing by its first bytes.
std::shared_ptr<Tokenizer> load_file(const Source& source) {
  const std::string& path = source.path;
  if (is_ggml_whisper(path)) return load_ggml_whisper_tokenizer(path);
  constexpr std::string_view kAnd = " + ";
  const std::size_t both = path.find(kAnd);
  if (both != std::string::npos && !file_exists(path)) {
    const std::string vocab = path.substr(0, both), merges = path.substr(both + kAnd.size());
    const bool bare = merges.find('/') == std::string::npos;
    const std::string folder = vocab.substr(0, vocab.size() - base_name(vocab).size());
    return load_bpe_pair(vocab, bare ? folder + merges : merges, nullptr);
  }
  if (ends_with(path, "vocab.json")) {
    return load_bpe_pair(path, with_ending(path, "vocab.json", "merges.txt"), nullptr);
  }
  if (ends_with(path, "merges.txt")) {
    return load_bpe_pair(with_ending(path, "merges.txt", "vocab.json"), path, nullptr);
  }
  if (ends_with(path, ".json")) return load_tokenizer_json(path, nullptr);
  if (ends_with(path, ".gguf")) return load_gguf_tokenizer(path, source.why_not);
  if (ends_with(path, ".tiktoken")) return load_ranks(source);
  if (ends_with(path, ".txt")) return load_vocab_txt(path, nullptr);
  if (ends_with(path, ".gz")) {
    return refuse(source.why_not, base_name(path) + " is packed: unpack it first");
  }
  return load_model_file(source);
}

bool has_tokenizer_file(const std::string& folder, const char* name, std::string& path) {
  path = join_path(folder, name);
  return file_exists(path);
}

std::shared_ptr<Tokenizer> load_folder(const std::string& folder, const TokenizerLoad& options,
                                       std::string* why_not) {
  const TokenizerConfig config = read_tokenizer_config(folder);
  Source source{{}, &config, options, why_not};
  std::string& path = source.path;
  if (has_tokenizer_file(folder, "tokenizer.json", path)) return load_tokenizer_json(path, &config);
  for (const char* name : {"tokenizer.model", "spiece.model", "sentencepiece.bpe.model"}) {
    if (has_tokenizer_file(folder, name, path)) return load_model_file(source);
  }
  for (const char* name : {"qwen.tiktoken", "multilingual.tiktoken", "gpt2.tiktoken",
                           "tokenizer.tiktoken", "tiktoken.model"}) {
    if (has_tokenizer_file(folder, name, path)) return load_ranks(source);
  }
  const bool vocab = has_tokenizer_file(folder, "vocab.json", path);
  if (vocab || file_exists(join_path(folder, "merges.txt"))) {
    return load_bpe_pair(path, join_path(folder, "merges.txt"), &config);
  }
  if (has_tokenizer_file(folder, "vocab.txt", path)) return load_vocab_txt(path, &config);
  if (has_tokenizer_file(folder, "tekken.json", path)) {
    return refuse(why_not, "a tokenizer of the kind of tekken.json is not understood yet");
  }
  return refuse(why_not, "the folder has no tokenizer");
}

}  // namespace

std::shared_ptr<Tokenizer> load_tokenizer(const std::string& path, std::string* why_not,
                                          const TokenizerLoad& options) {
  if (why_not != nullptr) why_not->clear();
  if (folder_exists(path)) return load_folder(path, options, why_not);
  return load_file({path, nullptr, options, why_not});
}

}  // namespace perilune
