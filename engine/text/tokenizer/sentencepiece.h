// SentencePiece (Kudo and Richardson 2018) tokenizers, and what published models put around them:
// special tokens, added tokens, the rules of LlamaTokenizer and T5Tokenizer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/text/sentencepiece/file.h"
#include "engine/text/sentencepiece/normalizer.h"
#include "engine/text/tokenizer/added.h"
#include "engine/text/tokenizer/config.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/vocabulary/segmenter.h"

namespace perilune {

/// What a published class adds where tokenizer_config.json is silent.
struct SentencePieceRules {
  bool bos = false, eos = false;
  bool legacy = true;          // text after a special token gets a space of its own
  std::int64_t extra_ids = 0;  // <extra_id_0> … at the end of the vocabulary, descending
};

class SentencePieceTokenizer final : public Tokenizer {
 public:
  /// The file alone: nothing is put in, nothing is recognised.
  SentencePieceTokenizer(SentencePieceModel model, std::string path);
  /// The file with what its folder and class say. Throws Error(format).
  SentencePieceTokenizer(SentencePieceModel model, std::string path, const TokenizerConfig& config,
                         const SentencePieceRules& rules);
  ~SentencePieceTokenizer() override;
  /// Adds what its reader found to warnings().
  void warn(const std::vector<std::string>& found) {
    warnings_.insert(warnings_.end(), found.begin(), found.end());
  }

  const char* kind() const override { return "sentencepiece"; }
  std::int32_t vocab_size() const override;
  std::int32_t max_id() const override;
  std::int32_t max_base_id() const override;
  const SpecialTokens& specials() const override { return specials_; }
  std::optional<std::int64_t> model_max_length() const override { return model_max_length_; }
  Encoding encode(std::string_view text, const EncodeOptions& options) const override;
  Encoding encode_pair(std::string_view text, std::string_view pair,
                       const EncodeOptions& options) const override;
  std::unique_ptr<StreamDecoder> decoder(const DecodeOptions& options) const override;
  std::string piece(std::int32_t id) const override;
  std::string join(std::span<const std::string> pieces) const override;
  std::optional<std::int32_t> id(std::string_view piece) const override;
  bool is_special(std::int32_t id) const override;
  bool is_byte(std::int32_t id) const override;
  const std::vector<AddedToken>& added_tokens() const override { return added_.tokens(); }
  std::vector<std::int32_t> add(std::span<const std::string> pieces, bool special) override;

 private:
  friend class SentencePieceDecoder;

  void load();
  void read_file_specials();
  void add_token(AddedToken token);
  std::optional<std::int32_t> role(const TokenizerConfig::Role& role, const char* name,
                                   std::optional<std::int32_t> of_file);
  void add_config_tokens(const TokenizerConfig& config, const SentencePieceRules& rules);
  void add_extra_ids(std::int64_t count);
  std::int32_t place_of(const std::string& content);

  void encode_text(std::string_view text, int which, const EncodeOptions& options,
                   Encoding& out) const;
  void encode_part(bool dummy_prefix, std::string_view text, std::size_t first, int which,
                   const EncodeOptions& options, Encoding& out) const;
  void encode_after_token(std::string_view text, std::size_t first, int which,
                          const EncodeOptions& options, Encoding& out) const;
  void put_in(std::optional<std::int32_t> id, const EncodeOptions& options, Encoding& out) const;
  void check_id(std::int32_t id) const;

  SentencePieceModel model_;
  std::unordered_map<std::string_view, std::int32_t> ids_;  // keys point into model_.pieces
  std::unique_ptr<SentencePieceNormalizer> normalizer_;
  std::unique_ptr<Segmenter> segmenter_;
  std::vector<std::int32_t> byte_ids_;  // by byte; empty without byte_fallback

  bool of_folder_ = false;
  AddedVocabulary added_;
  std::vector<bool> special_;  // of the base vocabulary
  SpecialTokens specials_;
  bool add_bos_ = false, add_eos_ = false;
  bool legacy_ = true;
  bool prefix_space_ = true;
  bool clean_up_ = false;
  bool split_specials_ = false;
  std::optional<std::int64_t> model_max_length_;
};

}  // namespace perilune
