#include "engine/text/tokenizer/roles.h"
#include "engine/base/settings_limits.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "engine/base/file.h"

namespace perilune {
namespace {

AddedToken* find_added(TokenizerParts& parts, std::string_view content) {
  const auto found =
      std::find_if(parts.added.begin(), parts.added.end(),
                   [content](const AddedToken& token) { return token.content == content; });
  return found == parts.added.end() ? nullptr : &*found;
}

std::int32_t next_id(const TokenizerParts& parts) {
  std::int32_t highest = parts.model->max_id();
  for (const AddedToken& token : parts.added) highest = std::max(highest, token.id);
  return highest + 1;
}

bool taken(const TokenizerParts& parts, std::int32_t id) {
  return parts.model->piece(id) != nullptr ||
         std::any_of(parts.added.begin(), parts.added.end(),
                     [id](const AddedToken& token) { return token.id == id; });
}

// added_tokens_decoder and added_tokens.json. The vocabulary has the last word on ids.
void add_listed(TokenizerParts& parts, const TokenizerConfig& config) {
  for (const auto& [id, listed] : config.added) {
    AddedToken token = listed;
    if (const auto known = parts.model->id(token.content); known && *known != id) {
      parts.warnings.push_back("added token \"" + token.content + "\" has id " +
                               std::to_string(id) + " in the tokenizer's settings, and " +
                               std::to_string(*known) + " in the vocabulary, which counts");
      token.id = *known;
    } else if (!known && taken(parts, id)) {
      parts.warnings.push_back("added token \"" + token.content + "\" is left out: its id " +
                               std::to_string(id) + " is another token's");
      continue;
    }
    if (find_added(parts, token.content) == nullptr) parts.added.push_back(std::move(token));
  }
}

std::int32_t add_special(TokenizerParts& parts, AddedToken token) {
  if (AddedToken* known = find_added(parts, token.content)) {
    known->special = true;
    return known->id;
  }
  token.special = true;
  token.normalized = false;
  token.id = parts.model->id(token.content).value_or(next_id(parts));
  parts.added.push_back(std::move(token));
  return parts.added.back().id;
}

struct NamedDefault {
  TokenizerConfig::Role TokenizerConfig::*role;
  const char* RoleDefaults::*spelling;
  std::optional<std::int32_t> SpecialTokens::*id;
};

constexpr std::array<NamedDefault, 7> kRoles = {{
    {&TokenizerConfig::bos, &RoleDefaults::bos, &SpecialTokens::bos},
    {&TokenizerConfig::eos, &RoleDefaults::eos, &SpecialTokens::eos},
    {&TokenizerConfig::unk, &RoleDefaults::unk, &SpecialTokens::unk},
    {&TokenizerConfig::pad, &RoleDefaults::pad, &SpecialTokens::pad},
    {&TokenizerConfig::cls, &RoleDefaults::cls, &SpecialTokens::cls},
    {&TokenizerConfig::sep, &RoleDefaults::sep, &SpecialTokens::sep},
    {&TokenizerConfig::mask, &RoleDefaults::mask, &SpecialTokens::mask},
}};

}  // namespace

const char* const kQwenPattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

void apply_config(TokenizerParts& parts, const TokenizerConfig& config,
                  const RoleDefaults& defaults) {
  add_listed(parts, config);
  for (const NamedDefault& named : kRoles) {
    const TokenizerConfig::Role& given = config.*named.role;
    const char* spelling = defaults.*named.spelling;
    if (given.token) {
      parts.specials.*named.id = add_special(parts, *given.token);
    } else if (!given.given && spelling != nullptr) {
      if (!parts.model->id(spelling) && find_added(parts, spelling) == nullptr) continue;
      AddedToken token;
      token.content = spelling;
      token.lstrip = defaults.mask_takes_space && named.spelling == &RoleDefaults::mask;
      parts.specials.*named.id = add_special(parts, std::move(token));
    }
  }
  for (const AddedToken& token : config.additional_special) add_special(parts, token);
  parts.model_max_length = config.model_max_length;
  parts.clean_up_spaces = config.clean_up_spaces;
  parts.chat_templates = config.chat_templates;
  parts.padding_side = config.padding_side;
  parts.truncation_side = config.truncation_side;
}

void name_roles(TokenizerParts& parts, const RoleDefaults& defaults) {
  for (const NamedDefault& named : kRoles) {
    const char* spelling = defaults.*named.spelling;
    if (spelling == nullptr) continue;
    const AddedToken* added = find_added(parts, spelling);
    parts.specials.*named.id = added != nullptr ? added->id : parts.model->id(spelling);
  }
}

std::int32_t required_id(const TokenizerParts& parts, std::string_view content) {
  for (const AddedToken& token : parts.added) {
    if (token.content == content) return token.id;
  }
  if (const auto id = parts.model->id(content)) return *id;
  throw Error(ErrorCode::format, "load",
              base_name(parts.path) + ": no token \"" + std::string(content) +
                  "\", which is put around every text");
}

std::string class_of(const TokenizerConfig& config) {
  const std::string& name = config.tokenizer_class;
  return name == "PreTrainedTokenizer" || name == "TokenizersBackend" ? "" : name;
}

Json settings_beside(const std::string& path) {
  const std::string folder = path.substr(0, path.size() - base_name(path).size());
  const std::string file = folder + "tokenizer_config.json";
  return file_exists(file) ? read_json(file, kSettingsLimits) : Json::object();
}

void refuse_class(const std::string& path, const std::string& name, const std::string& known) {
  throw Error(ErrorCode::unsupported, "load",
              base_name(path) + " of class " + name + " is not understood")
      .hint("known ones are " + known + "; a tokenizer.json beside it is read whatever the class");
}

PostProcessing::Item special_item(std::int32_t id, std::int32_t type_id) {
  return {-1, {id}, type_id};
}

PostProcessing::Item text_item(int text, std::int32_t type_id) {
  return {text, {}, type_id};
}

}  // namespace perilune
