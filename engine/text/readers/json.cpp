// tokenizer.json, and what the files beside it add.
#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/text/readers/open.h"
#include "engine/text/tokenizer/config.h"
#include "engine/text/tokenizer/pipeline.h"
#include "engine/text/tokenizer/roles.h"

namespace perilune {
namespace {

constexpr std::int64_t kMaxId = (1 << 24) - 1;
constexpr std::size_t kTold = 8;  // moved tokens that are named one by one

// Roles of a file that comes alone, by the spellings that published tokenizers use; the first that
// is a special added token has the role.
struct RoleSpellings {
  std::optional<std::int32_t> SpecialTokens::*role;
  std::vector<const char*> spellings;
};

const std::vector<RoleSpellings>& known_spellings() {
  static const std::vector<RoleSpellings> table = {
      {&SpecialTokens::bos,
       {"<s>", "<bos>", "[BOS]", "<|begin_of_text|>", "<|startoftext|>", "<|bos|>",
        "<|begin▁of▁sentence|>"}},
      {&SpecialTokens::eos,
       {"</s>", "<eos>", "[EOS]", "<|end_of_text|>", "<|endoftext|>", "<|eos|>",
        "<|end▁of▁sentence|>"}},
      {&SpecialTokens::unk, {"<unk>", "[UNK]", "<|unk|>"}},
      {&SpecialTokens::pad, {"<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>"}},
      {&SpecialTokens::cls, {"[CLS]", "<cls>"}},
      {&SpecialTokens::sep, {"[SEP]", "<sep>"}},
      {&SpecialTokens::mask, {"[MASK]", "<mask>", "<|mask|>"}},
  };
  return table;
}

bool among(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_bert(const TokenizerConfig& config) {
  if (config.tokenizer_class.empty()) {
    return among(config.model_type,
                 {"bert", "distilbert", "electra", "mobilebert", "convbert", "squeezebert",
                  "layoutlm", "lxmert", "dpr", "mpnet", "nomic_bert"});
  }
  return among(config.tokenizer_class,
               {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer",
                "ConvBertTokenizer", "SqueezeBertTokenizer", "LayoutLMTokenizer", "LxmertTokenizer",
                "DPRQuestionEncoderTokenizer", "DPRContextEncoderTokenizer", "MPNetTokenizer"});
}

bool makes_byte_level(const TokenizerConfig& config) {
  if (config.tokenizer_class.empty()) {
    return among(config.model_type, {"gpt2", "roberta", "bart", "codegen", "gpt_neox"});
  }
  return among(config.tokenizer_class,
               {"GPT2Tokenizer", "RobertaTokenizer", "BartTokenizer", "LEDTokenizer",
                "LongformerTokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer"});
}

class JsonTokenizerReader {
 public:
  JsonTokenizerReader(const Json& json, const std::string& path, const TokenizerConfig* config)
      : json_(json), config_(config) {
    parts_.path = path;
  }

  TokenizerParts read() {
    json_.members();  // throws where it is no object
    const std::string version = json_.string("version", "1.0");
    if (version != "1.0") {
      throw Error(ErrorCode::unsupported, "load",
                  json_.place_of("version") + ": " + version + " is not known, 1.0 is");
    }
    parts_.normalizer = read_normalizer(normalizer_of_class());
    parts_.pre_tokenizer = read_pre_tokenizer(pre_tokenizer_of_class());
    const bool raw = parts_.pre_tokenizer != nullptr && parts_.pre_tokenizer->raw_bytes();
    const Json& model = json_.get("model");
    const bool merges = model.string("type", model.has("merges") ? "BPE" : "") == "BPE";
    parts_.model = read_token_model(model, raw && merges);
    parts_.kind = parts_.model->kind();
    parts_.spelled_bytes = raw && !merges;
    next_id_ = parts_.model->size();
    parts_.post_processing = read_post_processor(member("post_processor"));
    parts_.decoder = read_decoder(member("decoder"));
    read_added();
    read_truncation();
    if (config_ != nullptr) {
      apply_config();
    } else {
      guess_roles();
    }
    if (!parts_.specials.unk) parts_.specials.unk = parts_.model->unknown();
    read_padding();
    if (moved_ > kTold) {
      warn(std::to_string(moved_ - kTold) + " more added tokens have other ids than the files say");
    }
    return std::move(parts_);
  }

 private:
  Json member(const char* name) const {
    const Json* value = json_.find(name);
    return value == nullptr ? Json() : *value;
  }

  // BERT and its kin make their normalizer of the settings, whatever the file says.
  Json normalizer_of_class() {
    Json normalizer = member("normalizer");
    if (config_ == nullptr || !is_bert(*config_) || !normalizer.is_object()) return normalizer;
    if (normalizer.string("type", "") != "BertNormalizer") return normalizer;
    const bool kept = !normalizer.boolean("lowercase", true);
    const bool lowers = config_->do_lower_case.value_or(true);
    if (kept && !config_->do_lower_case) {
      warn(
          "text is put in lower case, as published where no file says do_lower_case "
          "(tokenizer_config.json); tokenizer.json alone would keep it");
    }
    normalizer.set("lowercase", lowers);
    normalizer.set("strip_accents", config_->strip_accents.value_or(lowers));
    normalizer.set("handle_chinese_chars", config_->tokenize_chinese_chars.value_or(true));
    return normalizer;
  }

  // So do classes of byte-level pairs with the space before the text.
  Json pre_tokenizer_of_class() {
    Json pre_tokenizer = member("pre_tokenizer");
    if (config_ == nullptr || !pre_tokenizer.is_object()) return pre_tokenizer;
    if (pre_tokenizer.string("type", "") != "ByteLevel" || !makes_byte_level(*config_)) {
      return pre_tokenizer;
    }
    pre_tokenizer.set("add_prefix_space", config_->add_prefix_space.value_or(false));
    return pre_tokenizer;
  }

  void read_added() {
    const Json* list = json_.find_value("added_tokens");
    if (list == nullptr) return;
    const std::vector<Json>& entries = list->items();
    for (const Json& entry : entries) {
      AddedToken token;
      token.id = static_cast<std::int32_t>(entry.integer_in("id", 0, kMaxId));
      token.content = entry.string("content");
      token.special = entry.boolean("special", false);
      token.lstrip = entry.boolean("lstrip", false);
      token.rstrip = entry.boolean("rstrip", false);
      token.single_word = entry.boolean("single_word", false);
      token.normalized = entry.boolean("normalized", true);
      if (token.content.empty()) continue;  // as published: such a token is never found
      settle_id(token, entry.place());
      put(std::move(token));
    }
  }

  // As published: the vocabulary knows better, and what it does not have goes on after it.
  void settle_id(AddedToken& token, const std::string& place) {
    const std::optional<std::int32_t> known = parts_.model->id(token.content);
    if (known && *known != token.id) {
      warn("added token \"" + token.content + "\" has id " + std::to_string(token.id) + " in " +
           place + ", and " + std::to_string(*known) + " in the vocabulary, which counts");
      token.id = *known;
      return;
    }
    if (!known) number(token);
  }

  void number(AddedToken& token) {
    if (added(token.content) != nullptr) return;  // put() knows its id
    const std::int32_t written = token.id;
    token.id = next_id_++;
    if (written >= 0 && written != token.id && ++moved_ <= kTold) warn(renumbered(token, written));
    const std::string* other = parts_.model->piece(token.id);
    if (other != nullptr) {
      warn("added token \"" + token.content + "\" has id " + std::to_string(token.id) +
           ", which is \"" + *other + "\" in the vocabulary");
    }
  }

  void put(AddedToken token) {
    const auto [place, fresh] = by_content_.emplace(token.content, parts_.added.size());
    if (fresh) {
      parts_.added.push_back(std::move(token));
    } else {  // written twice: the last one's flags count
      token.id = parts_.added[place->second].id;
      parts_.added[place->second] = std::move(token);
    }
  }

  AddedToken* added(const std::string& content) {
    const auto found = by_content_.find(content);
    return found == by_content_.end() ? nullptr : &parts_.added[found->second];
  }

  void read_truncation() {
    const Json* block = json_.find_value("truncation");
    if (block == nullptr) return;
    parts_.model_max_length = block->integer_in("max_length", 1, INT32_MAX);
    if (block->find_value("stride") != nullptr) block->integer_in("stride", 0, INT32_MAX);
    parts_.truncation_side = side(*block);
  }

  void read_padding() {
    const Json* block = json_.find_value("padding");
    if (block == nullptr) return;
    if (parts_.padding_side.empty()) parts_.padding_side = side(*block);
    const auto id = static_cast<std::int32_t>(block->integer_in("pad_id", 0, kMaxId));
    const std::string token = block->string("pad_token", "");
    if (parts_.specials.pad || (config_ != nullptr && config_->pad.given)) return;
    const AddedToken* known = added(token);
    const std::optional<std::int32_t> real = known ? known->id : parts_.model->id(token);
    if (real && *real == id) {
      parts_.specials.pad = id;
    } else {
      warn("the padding block names \"" + token + "\" with id " + std::to_string(id) + ", and " +
           (real ? "its id is " + std::to_string(*real) : std::string("there is no such token")));
    }
  }

  static std::string side(const Json& block) {
    const std::string direction = block.string("direction", "Right");
    if (direction == "Right") return "right";
    if (direction == "Left") return "left";
    throw Error(ErrorCode::format, "load",
                block.place_of("direction") + ": expected Left or Right, got " + direction);
  }

  void guess_roles() {
    for (const RoleSpellings& row : known_spellings()) {
      for (const char* spelling : row.spellings) {
        const AddedToken* token = added(spelling);
        if (token == nullptr || !token->special) continue;
        parts_.specials.*row.role = token->id;
        break;
      }
    }
  }

  void apply_config() {
    if (config_->model_max_length) parts_.model_max_length = config_->model_max_length;
    parts_.clean_up_spaces = config_->cleans_up(is_byte_pairs(*parts_.model));
    parts_.token_types = config_->token_types;
    parts_.split_specials = config_->split_specials;
    for (const std::string& text : config_->warnings) warn(text);
    parts_.chat_templates = config_->chat_templates;
    if (!config_->padding_side.empty()) parts_.padding_side = config_->padding_side;
    if (!config_->truncation_side.empty()) parts_.truncation_side = config_->truncation_side;
    for (const auto& [id, token] : config_->added) add_of_config(token);
    bool any = false;
    for (const NamedRole& named : named_roles()) {
      const TokenizerConfig::Role& role = config_->*named.role;
      any = any || role.given;
      if (role.token) parts_.specials.*named.id = special_of_config(*role.token, named.name);
    }
    for (const AddedToken& token : config_->additional_special) {
      special_of_config(token, "additional_special_tokens");
    }
    if (!any) guess_roles();
  }

  // A token of added_tokens_decoder: tokenizer.json has the last word on ids.
  void add_of_config(const AddedToken& token) {
    const AddedToken* known = added(token.content);
    const std::optional<std::int32_t> id = known ? known->id : parts_.model->id(token.content);
    if (id && *id != token.id) {
      warn("added token \"" + token.content + "\" has id " + std::to_string(token.id) +
           " in the tokenizer's settings, and " + std::to_string(*id) +
           " in tokenizer.json, which counts");
    }
    if (known != nullptr) {
      if (token.special) added(token.content)->special = true;
      return;
    }
    AddedToken fresh = token;
    if (id) {
      fresh.id = *id;
    } else {
      number(fresh);
    }
    put(std::move(fresh));
  }

  std::int32_t special_of_config(const AddedToken& token, const char* name) {
    if (AddedToken* known = added(token.content)) {
      known->special = true;
      return known->id;
    }
    AddedToken fresh = token;
    fresh.special = true;
    const std::optional<std::int32_t> id = parts_.model->id(token.content);
    fresh.id = id.value_or(-1);
    if (!id) {
      number(fresh);
      warn(std::string(name) + " \"" + token.content +
           "\" is not in the vocabulary; it became id " + std::to_string(fresh.id));
    }
    const std::int32_t settled = fresh.id;
    put(std::move(fresh));
    return settled;
  }

  void warn(std::string text) { parts_.warnings.push_back(std::move(text)); }

  const Json& json_;
  const TokenizerConfig* config_;
  TokenizerParts parts_;
  std::unordered_map<std::string, std::size_t> by_content_;  // places in parts_.added
  std::size_t moved_ = 0;     // tokens that have another id than the file says
  std::int32_t next_id_ = 0;  // of the next token that the vocabulary does not have
};

}  // namespace

std::shared_ptr<Tokenizer> load_tokenizer_json(const std::string& path,
                                               const TokenizerConfig* config) {
  const Json json = read_json(path);
  return make_tokenizer(JsonTokenizerReader(json, path, config).read());
}

}  // namespace perilune
