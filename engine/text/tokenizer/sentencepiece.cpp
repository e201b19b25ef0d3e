#include "engine/text/tokenizer/sentencepiece.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/text/vocabulary/make_segmenter.h"

namespace perilune {
namespace {

using Type = SentencePieceModel::Type;

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceModel model, std::string path)
    : model_(std::move(model)) {
  path_ = std::move(path);
  load();
  read_file_specials();
}

SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceModel model, std::string path,
                                               const TokenizerConfig& config,
                                               const SentencePieceRules& rules)
    : SentencePieceTokenizer(std::move(model), std::move(path)) {
  of_folder_ = true;
  add_bos_ = config.add_bos.value_or(rules.bos);
  add_eos_ = config.add_eos.value_or(rules.eos);
  legacy_ = config.legacy.value_or(rules.legacy);
  prefix_space_ = config.add_prefix_space.value_or(true);
  clean_up_ = config.cleans_up(model_.algorithm == SentencePieceModel::Algorithm::bpe);
  model_max_length_ = config.model_max_length;
  split_specials_ = config.split_specials;
  warn(config.warnings);
  chat_templates_ = config.chat_templates;
  padding_side_ = config.padding_side;
  truncation_side_ = config.truncation_side;
  add_config_tokens(config, rules);
  if (add_bos_ && !specials_.bos) {
    add_bos_ = false;
    if (config.add_bos) warnings_.push_back("add_bos_token is set, and there is no bos token");
  }
  if (add_eos_ && !specials_.eos) {
    add_eos_ = false;
    if (config.add_eos) warnings_.push_back("add_eos_token is set, and there is no eos token");
  }
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

void SentencePieceTokenizer::load() {
  ids_.reserve(model_.pieces.size());
  special_.assign(model_.pieces.size(), false);
  for (std::size_t i = 0; i < model_.pieces.size(); ++i) {
    ids_.emplace(model_.pieces[i].text, static_cast<std::int32_t>(i));
    special_[i] = model_.pieces[i].type == Type::control;
  }
  normalizer_ = std::make_unique<SentencePieceNormalizer>(model_);
  segmenter_ = make_segmenter(model_);
  for (int byte = 0; model_.byte_fallback && byte < 256; ++byte) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    const char text[] = {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
    byte_ids_.push_back(ids_.at(std::string_view(text, sizeof(text))));
  }
}

void SentencePieceTokenizer::read_file_specials() {
  const auto control = [this](const std::string& text) -> std::optional<std::int32_t> {
    const auto found = ids_.find(text);
    if (found == ids_.end()) return std::nullopt;
    if (model_.pieces[static_cast<std::size_t>(found->second)].type != Type::control) return {};
    return found->second;
  };
  specials_.bos = control(model_.bos_piece);
  specials_.eos = control(model_.eos_piece);
  specials_.pad = control(model_.pad_piece);
  specials_.unk = model_.unknown_id;
}

// The id of `content`: of the vocabulary, of an added token, or a new one at the end.
std::int32_t SentencePieceTokenizer::place_of(const std::string& content) {
  const auto found = ids_.find(content);
  if (found != ids_.end()) return found->second;
  if (const AddedToken* token = added_.find(content)) return token->id;
  return max_id() + 1;
}

void SentencePieceTokenizer::add_token(AddedToken token) {
  if (token.id < vocab_size() && token.special) special_[static_cast<std::size_t>(token.id)] = true;
  added_.put(std::move(token));
}

std::optional<std::int32_t> SentencePieceTokenizer::role(const TokenizerConfig::Role& role,
                                                         const char* name,
                                                         std::optional<std::int32_t> of_file) {
  AddedToken token;
  if (role.given && !role.token) return std::nullopt;
  if (role.given) {
    token = *role.token;
    token.id = place_of(token.content);
    if (token.id > max_id()) {
      warnings_.push_back(std::string(name) + " \"" + token.content +
                          "\" is not in the vocabulary; it became id " + std::to_string(token.id));
    }
  } else if (of_file) {
    token.id = *of_file;
    token.content = model_.pieces[static_cast<std::size_t>(*of_file)].text;
  } else {
    return std::nullopt;
  }
  // What added_tokens_decoder says about stripping stands.
  if (const AddedToken* known = added_.find(token.id)) token = *known;
  token.special = true;
  const std::int32_t id = token.id;
  add_token(std::move(token));
  return id;
}

void SentencePieceTokenizer::add_extra_ids(std::int64_t count) {
  const std::int64_t base = vocab_size();
  for (std::int64_t i = count - 1; i >= 0; --i) {
    AddedToken token;
    token.content = "<extra_id_" + std::to_string(i) + ">";
    if (ids_.count(token.content) != 0 || added_.find(token.content) != nullptr) continue;
    token.id = static_cast<std::int32_t>(base + count - 1 - i);
    if (added_.find(token.id) != nullptr) continue;
    token.special = token.lstrip = token.rstrip = true;
    token.normalized = false;
    add_token(std::move(token));
  }
}

void SentencePieceTokenizer::add_config_tokens(const TokenizerConfig& config,
                                               const SentencePieceRules& rules) {
  const SpecialTokens of_file = specials_;
  for (const auto& [id, token] : config.added) {
    const auto found = ids_.find(token.content);
    if (found != ids_.end() && found->second != id) {
      warnings_.push_back("added token \"" + token.content + "\" has id " + std::to_string(id) +
                          ", and " + std::to_string(found->second) + " in the vocabulary");
    }
    if (static_cast<std::size_t>(id) < model_.pieces.size() + (std::size_t{1} << 20)) {
      add_token(token);
    } else {
      throw Error(ErrorCode::format, "load",
                  path_ + ": added token \"" + token.content + "\" has id " + std::to_string(id) +
                      ", far beyond the " + std::to_string(vocab_size()) + " pieces");
    }
  }
  add_extra_ids(config.extra_ids.value_or(rules.extra_ids));
  specials_.bos = role(config.bos, "bos_token", of_file.bos);
  specials_.eos = role(config.eos, "eos_token", of_file.eos);
  specials_.unk = role(config.unk, "unk_token", of_file.unk);
  specials_.pad = role(config.pad, "pad_token", of_file.pad);
  specials_.cls = role(config.cls, "cls_token", std::nullopt);
  specials_.sep = role(config.sep, "sep_token", std::nullopt);
  specials_.mask = role(config.mask, "mask_token", std::nullopt);
  for (AddedToken token : config.additional_special) {
    const AddedToken* known = added_.find(token.content);
    if (known != nullptr) token = *known;
    token.special = true;
    if (known == nullptr) token.id = place_of(token.content);
    add_token(std::move(token));
  }
}

std::vector<std::int32_t> SentencePieceTokenizer::add(std::span<const std::string> pieces,
                                                      bool special) {
  for (const std::string& content : pieces) {
    if (content.empty() || !is_utf8(content)) {
      throw Error(ErrorCode::argument, "add", "an added token is UTF-8 text that is not empty");
    }
  }
  std::vector<std::int32_t> ids;
  for (const std::string& content : pieces) {
    AddedToken token;
    if (const AddedToken* known = added_.find(content)) token = *known;
    token.content = content;
    token.special = token.special || special;
    token.id = place_of(content);
    ids.push_back(token.id);
    add_token(std::move(token));
  }
  return ids;
}

std::int32_t SentencePieceTokenizer::vocab_size() const {
  return static_cast<std::int32_t>(model_.pieces.size());
}

std::int32_t SentencePieceTokenizer::max_id() const {
  const std::int32_t base = vocab_size() - 1;
  return added_.tokens().empty() ? base : std::max(base, added_.tokens().back().id);
}

std::int32_t SentencePieceTokenizer::max_base_id() const {
  std::int32_t highest = vocab_size() - 1;
  for (const auto& id : {specials_.bos, specials_.eos, specials_.pad, specials_.unk, specials_.cls,
                         specials_.sep, specials_.mask}) {
    highest = std::max(highest, id.value_or(-1));
  }
  return highest;
}

void SentencePieceTokenizer::check_id(std::int32_t id) const {
  if (id >= 0 && (id < vocab_size() || added_.find(id) != nullptr)) return;
  throw Error(
      ErrorCode::argument, "decode",
      "there is no token " + std::to_string(id) + ": ids are 0 to " + std::to_string(max_id()));
}

std::string SentencePieceTokenizer::piece(std::int32_t id) const {
  check_id(id);
  if (const AddedToken* token = added_.find(id)) return token->content;
  return model_.pieces[static_cast<std::size_t>(id)].text;
}

std::optional<std::int32_t> SentencePieceTokenizer::id(std::string_view piece) const {
  if (const AddedToken* token = added_.find(piece)) return token->id;
  const auto found = ids_.find(piece);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool SentencePieceTokenizer::is_special(std::int32_t id) const {
  if (id < 0) return false;
  if (id < vocab_size()) return special_[static_cast<std::size_t>(id)];
  const AddedToken* token = added_.find(id);
  return token != nullptr && token->special;
}

bool SentencePieceTokenizer::is_byte(std::int32_t id) const {
  return id >= 0 && id < vocab_size() &&
         model_.pieces[static_cast<std::size_t>(id)].type == Type::byte;
}

}  // namespace perilune
