#include "engine/text/tokenizer.h"

#include <algorithm>
#include <array>

#include "engine/error.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/text/tokenizer_config.h"
#include "engine/text/tokenizer_sentencepiece.h"

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

std::shared_ptr<Tokenizer> load_sentencepiece(const std::string& path,
                                              const TokenizerConfig* config, std::string* why_not) {
  const std::string name = base_name(path);
  const std::string bytes = read_file(path, kMaxModelBytes);
  if (looks_like_ranks(bytes)) {
    return refuse(why_not, name + " holds tiktoken ranks, which are not understood yet");
  }
  if (config == nullptr) {
    return std::make_shared<SentencePieceTokenizer>(parse_sentencepiece(bytes, name), path);
  }
  const std::optional<SentencePieceRules> rules = rules_of(*config, name);
  SentencePieceModel model = parse_sentencepiece(bytes, name);
  if (!rules) {
    const bool by_class = !config->tokenizer_class.empty();
    return refuse(why_not, name + " of " +
                               (by_class ? "class " + config->tokenizer_class
                                         : "model type " + config->model_type) +
                               " is not understood yet");
  }
  return std::make_shared<SentencePieceTokenizer>(std::move(model), path, *config, *rules);
}

std::string kind_of_json(const std::string& path) {
  const Json json = read_json(path);
  const Json* model = json.find_value("model");
  if (model == nullptr) return "an unknown kind";
  const Json* type = model->find_value("type");
  if (type != nullptr && type->is_string()) return "kind " + type->as_string();
  if (model->has("merges")) return "kind BPE";
  const Json* vocab = model->find_value("vocab");
  return vocab != nullptr && vocab->is_array() ? "kind Unigram" : "kind WordPiece";
}

std::shared_ptr<Tokenizer> refuse_folder(const std::string& folder, std::string* why_not) {
  const std::string json = join_path(folder, "tokenizer.json");
  if (file_exists(json)) {
    return refuse(why_not, "tokenizer.json of " + kind_of_json(json) + " is not understood yet");
  }
  for (const char* name : {"sentencepiece.bpe.model", "vocab.txt", "merges.txt", "vocab.json",
                           "qwen.tiktoken", "tekken.json"}) {
    if (file_exists(join_path(folder, name))) {
      return refuse(why_not,
                    std::string("a tokenizer of the kind of ") + name + " is not understood yet");
    }
  }
  return refuse(why_not, "the folder has no tokenizer");
}

}  // namespace

std::string Tokenizer::decode(std::span<const std::int32_t> ids,
                              const DecodeOptions& options) const {
  const std::unique_ptr<StreamDecoder> stream = decoder(options);
  std::string text;
  for (const std::int32_t id : ids) text += stream->push(id);
  return text += stream->flush();
}

std::shared_ptr<Tokenizer> load_tokenizer(const std::string& path, std::string* why_not) {
  if (why_not != nullptr) why_not->clear();
  if (!folder_exists(path)) {
    const std::string name = base_name(path);
    const bool json = name.size() > 5 && name.compare(name.size() - 5, 5, ".json") == 0;
    if (json && file_exists(path)) {
      return refuse(why_not, name + " of " + kind_of_json(path) + " is not understood yet");
    }
    for (const char* ending : {".txt", ".tiktoken", ".gguf", ".gz"}) {
      const std::string_view end(ending);
      if (name.size() > end.size() && name.substr(name.size() - end.size()) == end) {
        return refuse(why_not, name + " is not understood yet");
      }
    }
    return load_sentencepiece(path, nullptr, why_not);
  }
  for (const char* name : {"tokenizer.model", "spiece.model"}) {
    const std::string file = join_path(path, name);
    if (!file_exists(file)) continue;
    const TokenizerConfig config = read_tokenizer_config(path);
    return load_sentencepiece(file, &config, why_not);
  }
  return refuse_folder(path, why_not);
}

}  // namespace perilune
