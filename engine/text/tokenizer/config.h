// What the JSON files beside a tokenizer say about it: tokenizer_config.json, and for older folders
// special_tokens_map.json and added_tokens.json.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/text/tokenizer/tokenizer.h"

namespace perilune {

/// The published settings, as far as files give them; what a class implies is added by its reader.
struct TokenizerConfig {
  /// A token with a role: absent (the class decides), none (null in the file), or its text.
  struct Role {
    bool given = false;
    std::optional<AddedToken> token;  // id -1
  };

  std::string tokenizer_class;  // "" where no file says; without "Fast"
  std::string model_type;       // of config.json
  Role bos, eos, unk, pad, cls, sep, mask;
  std::vector<AddedToken> additional_special;  // id -1
  std::map<std::int32_t, AddedToken> added;    // added_tokens_decoder, added_tokens.json
  std::optional<bool> add_bos, add_eos, legacy, add_prefix_space;
  std::optional<std::int64_t> extra_ids;
  std::optional<std::int64_t> model_max_length;  // nullopt: none, or beyond 2^31
  bool clean_up_spaces = false;                  // of clean_up_tokenization_spaces
  bool clean_up_byte_pairs = false;              // … where the vocabulary is one of byte pairs
  bool split_specials = false;  // special tokens that are written in a text are text
  std::optional<bool> do_lower_case, strip_accents, tokenize_chinese_chars;  // of BERT and its kin
  std::vector<std::string> warnings;          // keys that change ids as published, and do not here
  bool token_types = true;                    // whether a pair's second text has type 1
  std::string padding_side, truncation_side;  // "left", "right" or ""
  std::map<std::string, std::string> chat_templates;  // Jinja sources by name

  /// Whether decoding takes spaces before punctuation out: as published, of byte pairs only where a
  /// file or its class insists, because they spell every space.
  bool cleans_up(bool byte_pairs) const {
    return clean_up_spaces && (!byte_pairs || clean_up_byte_pairs);
  }
};

/// The token that `role` names.
struct NamedRole {
  const char* name;  // "bos_token"
  TokenizerConfig::Role TokenizerConfig::*role;
  std::optional<std::int32_t> SpecialTokens::*id;
};
/// Every role, in the order in which missing tokens get their ids.
std::span<const NamedRole> named_roles();

/// Reads what is in `folder`; missing files leave their settings out. Throws Error(file | format).
TokenizerConfig read_tokenizer_config(const std::string& folder);

}  // namespace perilune
