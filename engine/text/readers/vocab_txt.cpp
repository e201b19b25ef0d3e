// vocab.txt: BERT and its kin, one entry a line.
#include <algorithm>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/placeholder.h"
#include "engine/base/utf8.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/roles.h"

namespace perilune {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{128} << 20;
constexpr RoleDefaults kBertRoles = {nullptr, nullptr, "[UNK]",  "[PAD]",
                                     "[CLS]", "[SEP]", "[MASK]", false};
constexpr RoleDefaults kMpnetRoles = {"<s>", "</s>", "[UNK]",  "<pad>",
                                      "<s>", "</s>", "<mask>", true};

// The line number is the id. Of a line that is there twice the last counts, as published.
Vocabulary read_lines(const std::string& path, std::vector<std::string>& warnings) {
  const std::string text = read_file(path, kMaxBytes);
  refuse_placeholder(text, path);
  if (!is_utf8(text)) {
    throw Error(ErrorCode::format, "load", base_name(path) + " is not UTF-8 text");
  }
  std::unordered_map<std::string, std::int32_t> ids;
  std::int32_t line = 0;
  std::size_t again = 0;
  for (std::size_t at = 0; at < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string entry = text.substr(at, end - at);
    if (!entry.empty() && entry.back() == '\r') entry.pop_back();
    const auto [place, fresh] = ids.emplace(std::move(entry), line);
    place->second = line;
    again += fresh ? 0 : 1;
    at = end + 1;
  }
  if (again > 0) {
    warnings.push_back(base_name(path) + ": " + std::to_string(again) +
                       " entries are there twice; the last line counts");
  }
  return {ids.begin(), ids.end()};
}

bool is_special_spelling(std::string_view entry) {
  return entry.size() > 2 && ((entry.front() == '[' && entry.back() == ']') ||
                              (entry.front() == '<' && entry.back() == '>'));
}

bool has_upper_case(const Vocabulary& vocabulary) {
  return std::any_of(vocabulary.begin(), vocabulary.end(), [](const auto& entry) {
    return !is_special_spelling(entry.first) &&
           std::any_of(entry.first.begin(), entry.first.end(),
                       [](char c) { return c >= 'A' && c <= 'Z'; });
  });
}

// As published: lower case where no file says otherwise. A file that comes alone is asked itself.
BertNormalizing normalizing_of(const Json& settings, bool alone, const Vocabulary& vocabulary,
                               const std::string& name, std::vector<std::string>& warnings) {
  BertNormalizing options;
  const bool silent = settings.find_value("do_lower_case") == nullptr;
  const bool odd = silent && has_upper_case(vocabulary);
  options.lowercase = settings.boolean("do_lower_case", !(odd && alone));
  if (odd) {
    warnings.push_back(name + " has upper-case letters, and no file says do_lower_case: " +
                       (alone ? "text keeps its case"
                              : "text is put in lower case, as published "
                                "(tokenizer_config.json can say otherwise)"));
  }
  options.handle_chinese_chars = settings.boolean("tokenize_chinese_chars", true);
  options.strip_accents = settings.boolean("strip_accents", options.lowercase);
  return options;
}

bool is_mpnet(const TokenizerConfig* config, const std::string& path) {
  if (config == nullptr) return false;
  static const std::vector<std::string> kLikeBert = {"BertTokenizer",
                                                     "DistilBertTokenizer",
                                                     "ElectraTokenizer",
                                                     "MobileBertTokenizer",
                                                     "ConvBertTokenizer",
                                                     "LayoutLMTokenizer",
                                                     "RetriBertTokenizer",
                                                     "SqueezeBertTokenizer",
                                                     "BasicTokenizer",
                                                     "DPRQuestionEncoderTokenizer",
                                                     "DPRContextEncoderTokenizer",
                                                     "DPRReaderTokenizer",
                                                     "RealmTokenizer",
                                                     "LxmertTokenizer"};
  static const std::vector<std::string> kModels = {
      "",         "bert",     "distilbert",  "electra",    "mobilebert",
      "convbert", "layoutlm", "squeezebert", "dpr",        "retribert",
      "lxmert",   "realm",    "nomic_bert",  "visual_bert"};
  const std::string name = class_of(*config);
  const auto in = [](const std::vector<std::string>& list, const std::string& word) {
    return std::find(list.begin(), list.end(), word) != list.end();
  };
  if (name == "MPNetTokenizer" || (name.empty() && config->model_type == "mpnet")) return true;
  const std::string known = "BertTokenizer and its kin (DistilBERT, ELECTRA, …) and MPNetTokenizer";
  if (!name.empty() && !in(kLikeBert, name)) refuse_class(path, name, known);
  if (name.empty() && !in(kModels, config->model_type)) {
    refuse_class(path, "(model type " + config->model_type + ")", known);
  }
  return false;
}

std::string spelling_of(const TokenizerConfig* config, TokenizerConfig::Role TokenizerConfig::*role,
                        const char* otherwise) {
  if (config == nullptr || !(config->*role).token) return otherwise;
  return (config->*role).token->content;
}

// Around the texts stand cls and sep; MPNet writes sep twice between them and knows no types.
void put_around(TokenizerParts& parts, const std::string& cls, const std::string& sep, bool twice) {
  const std::int32_t first = required_id(parts, cls), end = required_id(parts, sep);
  auto& post = parts.post_processing;
  post.single = {special_item(first), text_item(0), special_item(end)};
  post.pair = post.single;
  if (twice) post.pair.push_back(special_item(end));
  const int type = twice ? 0 : 1;
  post.pair.push_back(text_item(1, type));
  post.pair.push_back(special_item(end, type));
}

}  // namespace

std::shared_ptr<Tokenizer> load_vocab_txt(const std::string& path, const TokenizerConfig* config) {
  const bool mpnet = is_mpnet(config, path);
  const RoleDefaults& roles = mpnet ? kMpnetRoles : kBertRoles;
  const Json settings = config == nullptr ? Json::object() : settings_beside(path);
  TokenizerParts parts;
  parts.kind = "wordpiece";
  parts.path = path;
  Vocabulary vocabulary = read_lines(path, parts.warnings);
  parts.normalizer = make_bert_normalizer(
      normalizing_of(settings, config == nullptr, vocabulary, base_name(path), parts.warnings));
  parts.pre_tokenizer = make_bert_pre_tokenizer();
  WordPieceOptions options;
  options.unknown = spelling_of(config, &TokenizerConfig::unk, roles.unk);
  parts.model = make_wordpiece(std::move(vocabulary), options, base_name(path));
  parts.decoder = make_wordpiece_decoder("##", true);
  apply_config(parts, config == nullptr ? TokenizerConfig{} : *config, roles);
  put_around(parts, spelling_of(config, &TokenizerConfig::cls, roles.cls),
             spelling_of(config, &TokenizerConfig::sep, roles.sep), mpnet);
  return make_tokenizer(std::move(parts));
}

}  // namespace perilune
