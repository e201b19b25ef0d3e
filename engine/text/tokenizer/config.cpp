#include "engine/text/tokenizer/config.h"

#include <algorithm>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/settings_limits.h"

namespace perilune {
namespace {

constexpr std::int64_t kMaxId = (std::int64_t{1} << 31) - 2;
constexpr std::int64_t kMaxExtraIds = 1 << 20;

// A token is written as its text or as an object with flags.
AddedToken read_token(const Json& value, const std::string& place) {
  AddedToken token;
  if (value.is_string()) {
    token.content = value.as_string();
    token.normalized = false;  // as published for a token written as its text alone
  } else if (value.is_object()) {
    token.content = value.string("content");
    token.lstrip = value.boolean("lstrip", false);
    token.rstrip = value.boolean("rstrip", false);
    token.single_word = value.boolean("single_word", false);
    token.normalized = value.boolean("normalized", true);
    token.special = value.boolean("special", false);
  } else {
    value.as_string(place);  // throws
  }
  if (token.content.empty()) throw Error(ErrorCode::format, "load", place + ": the token is empty");
  return token;
}

void read_role(const Json& json, const char* name, TokenizerConfig::Role& role) {
  const Json* value = json.find(name);
  if (value == nullptr || role.given) return;
  role.given = true;
  if (value->is_null()) return;
  role.token = read_token(*value, json.place_of(name));
  role.token->special = true;
}

void read_roles(const Json& json, TokenizerConfig& config) {
  for (const NamedRole& named : named_roles()) read_role(json, named.name, config.*named.role);
  if (!config.additional_special.empty()) return;
  for (const char* name : {"additional_special_tokens", "extra_special_tokens"}) {
    const Json* list = json.find_value(name);
    if (list == nullptr) continue;
    const auto put = [&](const Json& value, const std::string& place) {
      AddedToken token = read_token(value, place);
      token.special = true;
      config.additional_special.push_back(std::move(token));
    };
    if (list->is_object()) {  // by a name of its own
      for (const auto& [role, value] : list->members()) put(value, list->place_of(role));
    } else {
      const std::vector<Json>& entries = list->items();
      for (std::size_t i = 0; i < entries.size(); ++i) put(entries[i], list->place_of(i));
    }
  }
}

std::int32_t checked_id(std::int64_t id, const std::string& place) {
  if (id < 0 || id > kMaxId) {
    throw Error(ErrorCode::format, "load",
                place + ": " + std::to_string(id) + " is not a token id");
  }
  return static_cast<std::int32_t>(id);
}

std::int64_t parse_id(const std::string& text, const std::string& place) {
  const bool digits =
      !text.empty() && text.size() <= 10 && text.find_first_not_of("0123456789") == text.npos;
  if (!digits) {
    throw Error(ErrorCode::format, "load", place + ": \"" + text + "\" is not a token id");
  }
  return std::stoll(text);
}

void read_added(const Json& json, TokenizerConfig& config) {
  const Json* table = json.find_value("added_tokens_decoder");
  if (table == nullptr) return;
  for (const auto& [key, value] : table->members()) {
    const std::string place = table->place_of(key);
    AddedToken token = read_token(value, place);
    token.id = checked_id(parse_id(key, place), place);
    config.added[token.id] = std::move(token);
  }
}

void read_added_map(const Json& json, TokenizerConfig& config) {
  for (const auto& [content, id] : json.members()) {
    AddedToken token;
    token.content = content;
    token.id = checked_id(id.as_integer(json.place_of(content)), json.place_of(content));
    if (content.empty()) {
      throw Error(ErrorCode::format, "load", json.place_of(content) + ": the token is empty");
    }
    config.added.emplace(token.id, std::move(token));
  }
}

constexpr std::size_t kMaxTemplates = 64;
constexpr std::uint64_t kMaxTemplateBytes = 1 << 20;

void put_template(const std::string& name, const std::string& source, const std::string& place,
                  TokenizerConfig& config) {
  if (source.size() > kMaxTemplateBytes) {
    throw Error(ErrorCode::format, "load", place + ": the template is longer than a megabyte");
  }
  if (config.chat_templates.size() >= kMaxTemplates) {
    throw Error(ErrorCode::format, "load", place + ": too many templates");
  }
  config.chat_templates[name] = source;
}

// A string, or a list of { name, template }.
void read_templates(const Json& json, TokenizerConfig& config) {
  const Json* value = json.find_value("chat_template");
  if (value == nullptr) return;
  const std::string place = json.place_of("chat_template");
  if (!value->is_array()) return put_template("default", value->as_string(place), place, config);
  for (const Json& entry : value->items()) {
    put_template(entry.string("name"), entry.string("template"), place, config);
  }
}

std::string read_side(const Json& json, const char* name) {
  std::string side = json.string(name, "");
  if (side.empty() || side == "left" || side == "right") return side;
  throw Error(ErrorCode::format, "load",
              json.place_of(name) + ": expected left or right, got " + side);
}

std::optional<bool> optional_boolean(const Json& json, const char* name) {
  if (json.find_value(name) == nullptr) return std::nullopt;
  return json.boolean(name);
}

// What their published classes would do to ids, and nothing here does.
void name_unread(const Json& json, TokenizerConfig& config) {
  const auto name = [&](const char* key, bool matters) {
    if (matters) {
      config.warnings.push_back(json.place_of(key) +
                                ": not applied here; the published class makes other ids with it");
    }
  };
  const auto filled = [&](const char* key) {
    const Json* value = json.find_value(key);
    return value != nullptr && (value->is_string() || value->size() > 0);
  };
  const Json* sampling = json.find_value("sp_model_kwargs");
  name("sp_model_kwargs", sampling != nullptr && sampling->is_object() && sampling->size() > 0);
  for (const char* key : {"src_lang", "tgt_lang", "never_split"}) name(key, filled(key));
  const Json* basic = json.find_value("do_basic_tokenize");
  name("do_basic_tokenize", basic != nullptr && !json.boolean("do_basic_tokenize"));
}

void read_settings(const Json& json, TokenizerConfig& config) {
  config.tokenizer_class = json.string("tokenizer_class", "");
  config.add_bos = optional_boolean(json, "add_bos_token");
  config.add_eos = optional_boolean(json, "add_eos_token");
  config.legacy = optional_boolean(json, "legacy");
  config.add_prefix_space = optional_boolean(json, "add_prefix_space");
  config.clean_up_spaces = json.boolean("clean_up_tokenization_spaces", false);
  config.clean_up_byte_pairs =
      json.boolean("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
                   config.tokenizer_class.find("LukeTokenizer") != std::string::npos);
  config.split_specials = json.boolean("split_special_tokens", false);
  config.do_lower_case = optional_boolean(json, "do_lower_case");
  config.strip_accents = optional_boolean(json, "strip_accents");
  config.tokenize_chinese_chars = optional_boolean(json, "tokenize_chinese_chars");
  name_unread(json, config);
  config.padding_side = read_side(json, "padding_side");
  config.truncation_side = read_side(json, "truncation_side");
  if (json.find_value("extra_ids") != nullptr) {
    config.extra_ids = json.integer_in("extra_ids", 0, kMaxExtraIds);
  }
  // 1e30 is how "no limit" is written.
  if (json.find_value("model_max_length") != nullptr) {
    const double length = json.number("model_max_length");
    if (!(length >= 1)) {
      throw Error(ErrorCode::format, "load",
                  json.place_of("model_max_length") + ": expected a positive number");
    }
    if (length < 2147483648.0) config.model_max_length = static_cast<std::int64_t>(length);
  }
}

// Whose published tokenizers say which text a token is of, where no file does.
constexpr std::string_view kTypedClasses[] = {"BertTokenizer",
                                              "ElectraTokenizer",
                                              "ConvBertTokenizer",
                                              "MobileBertTokenizer",
                                              "SqueezeBertTokenizer",
                                              "LayoutLMTokenizer",
                                              "LayoutLMv2Tokenizer",
                                              "LxmertTokenizer",
                                              "DPRContextEncoderTokenizer",
                                              "DPRQuestionEncoderTokenizer",
                                              "DebertaTokenizer",
                                              "DebertaV2Tokenizer",
                                              "FNetTokenizer",
                                              "MarkupLMTokenizer",
                                              "TapasTokenizer",
                                              "CanineTokenizer"};
constexpr std::string_view kTypedModels[] = {"bert",
                                             "distilbert",
                                             "electra",
                                             "convbert",
                                             "mobilebert",
                                             "squeezebert",
                                             "layoutlm",
                                             "layoutlmv2",
                                             "lxmert",
                                             "dpr",
                                             "deberta",
                                             "deberta-v2",
                                             "fnet",
                                             "markuplm",
                                             "tapas",
                                             "canine",
                                             "ernie",
                                             "megatron-bert",
                                             "nezha",
                                             "nomic_bert",
                                             "qdqbert",
                                             "realm",
                                             "retribert",
                                             "visual_bert",
                                             "align",
                                             "bark",
                                             "blip",
                                             "bros",
                                             "chinese_clip",
                                             "flava",
                                             "git",
                                             "grounding-dino",
                                             "mm-grounding-dino",
                                             "tvp",
                                             "vilt"};

bool has_token_types(const Json& settings, const TokenizerConfig& config) {
  const auto among = [](const auto& list, std::string_view name) {
    return std::find(std::begin(list), std::end(list), name) != std::end(list);
  };
  if (const Json* names = settings.find_value("model_input_names")) {
    const std::vector<Json>& list = names->items();
    return std::any_of(list.begin(), list.end(), [&](const Json& name) {
      return name.as_string(names->place()) == "token_type_ids";
    });
  }
  if (!config.tokenizer_class.empty()) return among(kTypedClasses, config.tokenizer_class);
  return config.model_type.empty() || among(kTypedModels, config.model_type);
}

Json read_object(const std::string& path) {
  Json json = read_json(path, kSettingsLimits);
  json.members();  // throws where it is no object
  return json;
}

// additional_chat_templates/NAME.jinja, as published tokenizers keep more than one template.
std::map<std::string, std::string> additional_templates(const std::string& folder) {
  std::map<std::string, std::string> files;
  std::error_code problem;  // no such folder: no files
  const std::filesystem::path path(join_path(folder, "additional_chat_templates"));
  for (const auto& entry : std::filesystem::directory_iterator(path, problem)) {
    if (entry.path().extension() != ".jinja") continue;
    if (files.size() >= kMaxTemplates) {
      throw Error(ErrorCode::format, "load", path.string() + ": too many templates");
    }
    files[entry.path().stem().string()] = entry.path().string();
  }
  return files;
}

// The files beside the settings win: templates of the settings count where there is none.
void read_template_files(const std::string& folder, TokenizerConfig& config) {
  const std::string json = join_path(folder, "chat_template.json");
  if (file_exists(json)) read_templates(read_object(json), config);
  std::map<std::string, std::string> files = additional_templates(folder);
  const std::string jinja = join_path(folder, "chat_template.jinja");
  if (file_exists(jinja)) files["default"] = jinja;
  if (!files.empty()) config.chat_templates.clear();
  for (const auto& [name, path] : files) {
    put_template(name, read_file(path, kMaxTemplateBytes), path, config);
  }
}

constexpr NamedRole kRoles[] = {
    {"bos_token", &TokenizerConfig::bos, &SpecialTokens::bos},
    {"eos_token", &TokenizerConfig::eos, &SpecialTokens::eos},
    {"unk_token", &TokenizerConfig::unk, &SpecialTokens::unk},
    {"sep_token", &TokenizerConfig::sep, &SpecialTokens::sep},
    {"pad_token", &TokenizerConfig::pad, &SpecialTokens::pad},
    {"cls_token", &TokenizerConfig::cls, &SpecialTokens::cls},
    {"mask_token", &TokenizerConfig::mask, &SpecialTokens::mask},
};

}  // namespace

std::span<const NamedRole> named_roles() {
  return kRoles;
}

TokenizerConfig read_tokenizer_config(const std::string& folder) {
  TokenizerConfig config;
  const std::string path = join_path(folder, "tokenizer_config.json");
  const Json settings = file_exists(path) ? read_object(path) : Json::object();
  read_settings(settings, config);
  read_roles(settings, config);
  read_added(settings, config);
  read_templates(settings, config);
  read_template_files(folder, config);
  const std::string special = join_path(folder, "special_tokens_map.json");
  if (file_exists(special)) read_roles(read_object(special), config);
  const std::string added = join_path(folder, "added_tokens.json");
  if (file_exists(added)) read_added_map(read_object(added), config);
  const std::string model = join_path(folder, "config.json");
  if (file_exists(model)) {
    const Json json = read_object(model);
    const Json* type = json.find_value("model_type");
    if (type != nullptr && type->is_string()) config.model_type = type->as_string();
    if (config.tokenizer_class.empty()) {
      const Json* name = json.find_value("tokenizer_class");
      if (name != nullptr && name->is_string()) config.tokenizer_class = name->as_string();
    }
  }
  std::string& name = config.tokenizer_class;
  if (name.size() > 4 && name.compare(name.size() - 4, 4, "Fast") == 0)
    name.resize(name.size() - 4);
  config.token_types = has_token_types(settings, config);
  return config;
}

}  // namespace perilune
