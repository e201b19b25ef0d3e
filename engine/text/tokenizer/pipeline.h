// A tokenizer made of parts: added tokens, normalizer, pre-tokenizer, model, post-processor,
// decoder. Every file kind but SentencePiece's own is read into these parts.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/text/cut/pre_tokenizer.h"
#include "engine/text/decode/piece_decoder.h"
#include "engine/text/normalize/normalizer.h"
#include "engine/text/tokenizer/post_processor.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/vocabulary/token_model.h"

namespace perilune {

struct TokenizerParts {
  std::string kind;  // "bpe", "wordpiece", "unigram", "wordlevel" or "tiktoken"
  std::string path;
  std::unique_ptr<Normalizer> normalizer;       // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // null: the text is one piece
  std::unique_ptr<TokenModel> model;
  bool spelled_bytes = false;  // bytes go to the model as the characters byte-level files write
  PostProcessing post_processing;
  std::unique_ptr<DecoderRecipe> decoder;  // null: pieces joined by spaces
  std::vector<AddedToken> added;           // ids are given
  SpecialTokens specials;                  // roles; put in added where they are no entries
  std::optional<std::int64_t> model_max_length;
  bool clean_up_spaces = false;  // after decoding, as tokenizer_config.json says
  bool split_specials = false;   // special tokens that are written in a text are text
  bool token_types = true;       // false: every text has type 0, whatever post_processing says
  std::string padding_side, truncation_side;          // Tokenizer's
  std::map<std::string, std::string> chat_templates;  // Tokenizer::chat_templates
  std::vector<std::string> warnings;
};

/// Throws Error(format) where parts contradict one another (an id that a template puts in exists
/// nowhere, one id for two tokens).
std::shared_ptr<Tokenizer> make_tokenizer(TokenizerParts parts);

}  // namespace perilune
