// Byte pair encoding over a vocabulary and ranked pairs; made by make_bpe and make_rank_bpe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/vocabulary/bpe_merge.h"
#include "engine/text/vocabulary/entries.h"
#include "engine/text/vocabulary/memo.h"
#include "engine/text/vocabulary/token_model.h"

namespace perilune {

/// What BPE needs to know; `pairs` are over the vocabulary's numbers.
struct BpeTables {
  VocabularyIndex vocabulary;
  PairTable pairs;
  /// For every two symbols that a pair may join where they meet. Text is cut between all others.
  std::vector<bool> joins;
  bool cuts = false;  // `joins` is complete
};

class Bpe final : public TokenModel {
 public:
  Bpe(BpeTables tables, const BpeOptions& options);

  const char* kind() const override { return "bpe"; }
  void tokenize(std::string_view text, std::span<const TextSpan> pieces,
                std::vector<ModelToken>& out) const override;
  std::int32_t size() const override { return tables_.vocabulary.size(); }
  std::int32_t max_id() const override { return tables_.vocabulary.max_id(); }
  std::optional<std::int32_t> id(std::string_view piece) const override {
    return tables_.vocabulary.id(piece);
  }
  const std::string* piece(std::int32_t id) const override { return tables_.vocabulary.piece(id); }
  std::optional<std::int32_t> unknown() const override;
  bool marks_inner_pieces() const override { return !options_.continuing_prefix.empty(); }
  std::span<const std::int32_t> byte_ids() const override { return byte_ids_; }

  static std::size_t join_place(std::uint32_t left, std::uint32_t right, std::size_t size) {
    return (left * std::size_t{509} + right) & (size - 1);
  }

 private:
  class Encoder;  // one call of tokenize

  void fill_whole();
  void fill_direct();
  std::string spelling_of(std::string_view character, bool first, bool last) const;
  std::int32_t symbol_of(std::string_view character, bool first, bool last) const;
  bool may_join(std::uint32_t left, std::uint32_t right) const {
    return !tables_.cuts || tables_.joins[join_place(left, right, tables_.joins.size())];
  }

  BpeTables tables_;
  BpeOptions options_;
  bool affixes_ = false;       // a prefix or suffix is put in
  bool byte_symbols_ = false;  // every byte is a symbol, wherever it stands
  std::int32_t unknown_ = -1;
  std::vector<std::int32_t> byte_numbers_, byte_ids_;
  /// Numbers of characters of one byte by [not first | last << 1]; -1: none.
  std::array<std::array<std::int32_t, 256>, 4> direct_;
  /// Entries by the text that would be them; marks say whether merging that text gives them.
  PieceTable whole_;
  mutable MemoPool memos_;
};

}  // namespace perilune
