#include "engine/text/tokenizer/roles.h"
#include "engine/base/settings_limits.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/base/file.h"

namespace perilune {
namespace {

const AddedToken* find_added(const TokenizerParts& parts, std::string_view content) {
  const auto found =
      std::find_if(parts.added.begin(), parts.added.end(),
                   [content](const AddedToken& token) { return token.content == content; });
  return found == parts.added.end() ? nullptr : &*found;
}

/// The added tokens of `parts`, with their contents and ids at hand.
class AddedList {
 public:
  explicit AddedList(TokenizerParts& parts)
      : parts_(parts), keeps_ids_(parts.kind == "tiktoken"), next_(parts.model->size()) {
    if (keeps_ids_) next_ = parts.model->max_id() + 1;
    for (std::size_t i = 0; i < parts.added.size(); ++i) note(parts.added[i], i);
  }

  AddedToken* find(const std::string& content) {
    const auto found = by_content_.find(content);
    return found == by_content_.end() ? nullptr : &parts_.added[found->second];
  }

  // added_tokens_decoder and added_tokens.json. The vocabulary has the last word on ids; what it
  // does not have goes on after it, as published. Ranks have their tokens at the ids given.
  void add_listed(AddedToken token) {
    const std::int32_t written = token.id;
    const auto known = parts_.model->id(token.content);
    if (known && *known != written) {
      parts_.warnings.push_back("added token \"" + token.content + "\" has id " +
                                std::to_string(written) + " in the tokenizer's settings, and " +
                                std::to_string(*known) + " in the vocabulary, which counts");
      token.id = *known;
    } else if (!known && keeps_ids_ && taken(written)) {
      parts_.warnings.push_back("added token \"" + token.content + "\" is left out: its id " +
                                std::to_string(written) + " is another token's");
      return;
    }
    if (find(token.content) != nullptr) return;
    if (!known && !keeps_ids_) {
      token.id = next_;
      if (token.id != written) parts_.warnings.push_back(renumbered(token, written));
    }
    put(std::move(token));
  }

  std::int32_t add_special(AddedToken token) {
    if (AddedToken* known = find(token.content)) {
      known->special = true;
      return known->id;
    }
    token.special = true;
    token.normalized = false;
    token.id = parts_.model->id(token.content).value_or(next_);
    put(std::move(token));
    return parts_.added.back().id;
  }

 private:
  bool taken(std::int32_t id) const {
    return parts_.model->piece(id) != nullptr || ids_.count(id) != 0;
  }

  void put(AddedToken token) {
    note(token, parts_.added.size());
    parts_.added.push_back(std::move(token));
  }

  void note(const AddedToken& token, std::size_t place) {
    by_content_.emplace(token.content, place);
    ids_.insert(token.id);
    if (keeps_ids_) {
      next_ = std::max(next_, token.id + 1);
    } else if (!parts_.model->id(token.content)) {
      ++next_;
    }
  }

  TokenizerParts& parts_;
  bool keeps_ids_;
  std::int32_t next_;  // the id of the next token that the vocabulary does not have
  std::unordered_map<std::string, std::size_t> by_content_;  // places in parts_.added
  std::unordered_set<std::int32_t> ids_;
};

struct NamedDefault {
  TokenizerConfig::Role TokenizerConfig::*role;
  const char* RoleDefaults::*spelling;
  std::optional<std::int32_t> SpecialTokens::*id;
};

constexpr std::array<NamedDefault, 7> kRoles = {{
    {&TokenizerConfig::bos, &RoleDefaults::bos, &SpecialTokens::bos},
    {&TokenizerConfig::eos, &RoleDefaults::eos, &SpecialTokens::eos},
    {&TokenizerConfig::unk, &RoleDefaults::unk, &SpecialTokens::unk},
    {&TokenizerConfig::sep, &RoleDefaults::sep, &SpecialTokens::sep},
    {&TokenizerConfig::pad, &RoleDefaults::pad, &SpecialTokens::pad},
    {&TokenizerConfig::cls, &RoleDefaults::cls, &SpecialTokens::cls},
    {&TokenizerConfig::mask, &RoleDefaults::mask, &SpecialTokens::mask},
}};

}  // namespace

const char* const kQwenPattern =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

std::string renumbered(const AddedToken& token, std::int32_t written) {
  return "added token \"" + token.content + "\" has id " + std::to_string(written) +
         " in the files; ids go on after the vocabulary without a gap, as published, so it is " +
         std::to_string(token.id);
}

bool is_byte_pairs(const TokenModel& model) {
  return std::string_view(model.kind()) == "bpe";
}

void apply_config(TokenizerParts& parts, const TokenizerConfig& config,
                  const RoleDefaults& defaults) {
  AddedList list(parts);
  for (const auto& [id, token] : config.added) list.add_listed(token);
  for (const NamedDefault& named : kRoles) {
    const TokenizerConfig::Role& given = config.*named.role;
    const char* spelling = defaults.*named.spelling;
    if (given.token) {
      parts.specials.*named.id = list.add_special(*given.token);
    } else if (!given.given && spelling != nullptr) {
      if (!parts.model->id(spelling) && list.find(spelling) == nullptr) continue;
      AddedToken token;
      token.content = spelling;
      token.lstrip = defaults.mask_takes_space && named.spelling == &RoleDefaults::mask;
      parts.specials.*named.id = list.add_special(std::move(token));
    }
  }
  for (const AddedToken& token : config.additional_special) list.add_special(token);
  parts.model_max_length = config.model_max_length;
  parts.clean_up_spaces = config.cleans_up(is_byte_pairs(*parts.model));
  parts.token_types = config.token_types;
  parts.split_specials = config.split_specials;
  parts.warnings.insert(parts.warnings.end(), config.warnings.begin(), config.warnings.end());
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
