#include "engine/text/tokenizer/fairseq.h"

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/text/tokenizer/pipeline.h"
#include "engine/text/tokenizer/roles.h"
#include "engine/text/unicode/base64.h"
#include "engine/text/vocabulary/unigram_model.h"

namespace perilune {
namespace {

constexpr const char* kSpace = "\xE2\x96\x81";  // U+2581 stands for a space

bool is_camembert(const TokenizerConfig& config) {
  return config.tokenizer_class == "CamembertTokenizer" ||
         (config.tokenizer_class.empty() && config.model_type == "camembert");
}

Json step(const char* type) {
  Json json;
  json.set("type", type);
  return json;
}

// The published conversion: the file's own map, words by white space.
Json normalizer_of(const SentencePieceModel& model) {
  if (model.charsmap.empty()) return {};
  return step("Precompiled").set("precompiled_charsmap", base64_of(model.charsmap));
}

Json metaspace(bool prefix) {
  return step("Metaspace")
      .set("replacement", kSpace)
      .set("prepend_scheme", prefix ? "always" : "never")
      .set("split", true);
}

Json pre_tokenizer_of(bool prefix) {
  Json steps;
  steps.push(step("WhitespaceSplit")).push(metaspace(prefix));
  return step("Sequence").set("pretokenizers", steps);
}

std::unique_ptr<TokenModel> model_of(const SentencePieceModel& model, bool camembert,
                                     const std::string& path) {
  std::vector<std::pair<std::string, double>> pieces;
  std::size_t first = 3;  // the file's <unk>, <s> and </s> are among the names in front
  if (camembert) {
    for (const char* name : {"<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"}) {
      pieces.emplace_back(name, pieces.size() == 4 ? -100.0 : 0.0);
    }
    first = 1;
  } else {
    for (const char* name : {"<s>", "<pad>", "</s>", "<unk>"}) pieces.emplace_back(name, 0.0);
  }
  for (std::size_t i = first; i < model.pieces.size(); ++i) {
    pieces.emplace_back(model.pieces[i].text, model.pieces[i].score);
  }
  pieces.emplace_back("<mask>", 0.0);
  return make_unigram(std::move(pieces), {3, model.byte_fallback}, base_name(path));
}

}  // namespace

bool is_fairseq(const TokenizerConfig& config) {
  return is_camembert(config) || config.tokenizer_class == "XLMRobertaTokenizer" ||
         (config.tokenizer_class.empty() && config.model_type == "xlm-roberta");
}

std::shared_ptr<Tokenizer> make_fairseq_tokenizer(const SentencePieceModel& model,
                                                  const std::string& path,
                                                  const TokenizerConfig& config) {
  const bool expected = model.algorithm == SentencePieceModel::Algorithm::unigram &&
                        model.unknown_id == 0 && model.pieces.size() > 3 &&
                        model.pieces[1].text == "<s>" && model.pieces[2].text == "</s>";
  if (!expected) {
    throw Error(ErrorCode::unsupported, "load",
                base_name(path) + " is not laid out as XLM-RoBERTa's and CamemBERT's files are")
        .hint("they are unigram models that begin with <unk>, <s> and </s>");
  }
  TokenizerParts parts;
  parts.kind = "unigram";
  parts.path = path;
  const bool prefix = config.add_prefix_space.value_or(true);
  parts.normalizer = read_normalizer(normalizer_of(model));
  parts.pre_tokenizer = read_pre_tokenizer(pre_tokenizer_of(prefix));
  parts.model = model_of(model, is_camembert(config), path);
  parts.decoder = read_decoder(metaspace(prefix));
  RoleDefaults roles;
  roles.bos = roles.cls = "<s>";
  roles.eos = roles.sep = "</s>";
  roles.unk = "<unk>";
  roles.pad = "<pad>";
  roles.mask = "<mask>";
  roles.mask_takes_space = true;
  apply_config(parts, config, roles);
  const std::int32_t cls = required_id(parts, "<s>"), sep = required_id(parts, "</s>");
  PostProcessing& around = parts.post_processing;
  around.single = {special_item(cls), text_item(0), special_item(sep)};
  around.pair = {special_item(cls), text_item(0), special_item(sep),
                 special_item(sep), text_item(1), special_item(sep)};
  return make_tokenizer(std::move(parts));
}

}  // namespace perilune
