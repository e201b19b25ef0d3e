// The tokenizer that TokenizerParts make.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/text/tokenizer/added_matcher.h"
#include "engine/text/tokenizer/pipeline.h"

namespace perilune {

class PipelineTokenizer final : public Tokenizer {
 public:
  /// Throws Error(format) as make_tokenizer does.
  explicit PipelineTokenizer(TokenizerParts parts);

  const char* kind() const override { return parts_.kind.c_str(); }
  bool marks_inner_pieces() const override { return parts_.model->marks_inner_pieces(); }
  std::int32_t vocab_size() const override { return parts_.model->size(); }
  std::int32_t max_id() const override { return max_id_; }
  std::int32_t max_base_id() const override;
  const SpecialTokens& specials() const override { return parts_.specials; }
  std::optional<std::int64_t> model_max_length() const override { return parts_.model_max_length; }
  Encoding encode(std::string_view text, const EncodeOptions& options) const override;
  Encoding encode_pair(std::string_view text, std::string_view pair,
                       const EncodeOptions& options) const override;
  std::unique_ptr<StreamDecoder> decoder(const DecodeOptions& options) const override;
  std::string piece(std::int32_t id) const override;
  std::string join(std::span<const std::string> pieces) const override;
  std::optional<std::int32_t> id(std::string_view piece) const override;
  bool is_special(std::int32_t id) const override;
  bool is_byte(std::int32_t id) const override;
  const std::vector<AddedToken>& added_tokens() const override { return added_; }
  std::vector<std::int32_t> add(std::span<const std::string> pieces, bool special) override;

 private:
  friend class PipelineDecoder;
  friend class TextEncoder;

  void put_added(AddedToken token);
  void check_templates() const;
  void check_roles() const;
  void rebuild();
  const AddedToken* added(std::int32_t id) const;
  /// How `id` is written; null for an id that does not exist.
  const std::string* spelling(std::int32_t id) const;
  /// The same as decoding starts from it: normalized where the token was looked for so.
  const std::string* decoding(std::int32_t id) const;
  Encoding encode_items(const std::vector<PostProcessing::Item>& items, std::string_view text,
                        std::string_view pair, const EncodeOptions& options) const;

  TokenizerParts parts_;
  std::vector<AddedToken> added_;  // by id; the matchers point into it
  std::unordered_map<std::string, std::int32_t> added_ids_;
  std::unordered_map<std::int32_t, std::string> normal_forms_;  // where they are not the content
  AddedMatcher raw_, normalized_;  // looked for in the text, in the normalized text
  std::int32_t max_id_ = -1;
};

}  // namespace perilune
