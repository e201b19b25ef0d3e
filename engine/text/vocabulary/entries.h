// The tables a token model looks spellings up in.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/vocabulary/token_model.h"

namespace perilune {

/// A byte string as two words and a hash. Of up to 16 bytes: equal lengths and equal words are
/// equal strings. Of more: `low` is the hash.
struct PieceKey {
  static constexpr std::size_t kInline = 16;
  explicit PieceKey(std::string_view text);
  std::uint64_t low = 0, high = 0, hash = 0;
};

/// A map from byte strings to numbers below 2^24, made once. A key of up to 16 bytes stands in its
/// slot, so that looking it up touches one cache line. Each key also carries a mark, which may be
/// set while others read.
class PieceTable {
 public:
  struct Slot {
    std::uint64_t low = 0, high = 0;  // the key; a longer one: its hash, its place in `long_keys_`
    std::uint32_t length = 0;
    mutable std::atomic<std::uint32_t> value{0};  // mark << 24 | number

    std::int32_t number() const {
      return static_cast<std::int32_t>(value.load(std::memory_order_relaxed) & 0xFFFFFF);
    }
    std::uint32_t mark() const { return value.load(std::memory_order_relaxed) >> 24; }
    void set_mark(std::uint32_t mark) const {
      value.store(mark << 24 | static_cast<std::uint32_t>(number()), std::memory_order_relaxed);
    }
  };

  /// Room for `keys` keys.
  explicit PieceTable(std::size_t keys);
  /// False where the key is there already (its number stays). Empty keys are never found.
  bool insert(std::string_view key, std::int32_t number);
  const Slot* find(std::string_view key) const;
  std::size_t longest() const { return longest_; }

 private:
  bool matches(const Slot& slot, const PieceKey& key, std::string_view text) const;

  std::unique_ptr<Slot[]> slots_;
  std::size_t mask_ = 0, longest_ = 0;
  std::string long_keys_;
};

/// Spellings and ids, each way. Entries are numbered 0, 1, … in the order of their ids: a number is
/// the id itself where ids have no gaps.
class VocabularyIndex {
 public:
  /// Throws Error(format) naming `place`: an id below 0 or from 2^24 on, an id or a spelling that
  /// is there twice, more than 2^20 entries.
  VocabularyIndex(Vocabulary vocabulary, std::string_view place);

  std::int32_t size() const { return static_cast<std::int32_t>(entries_.size()); }
  std::int32_t max_id() const { return entries_.empty() ? -1 : entries_.back().second; }
  std::optional<std::int32_t> id(std::string_view piece) const;
  const std::string* piece(std::int32_t id) const;

  /// The number of an entry, -1: none.
  std::int32_t number(std::string_view piece) const;
  std::int32_t id_of(std::int32_t number) const {
    return dense_ ? number : entries_[static_cast<std::size_t>(number)].second;
  }
  const std::string& spelling(std::int32_t number) const {
    return entries_[static_cast<std::size_t>(number)].first;
  }
  /// Numbers of <0x00> … <0xFF>, -1 for missing ones.
  std::vector<std::int32_t> byte_numbers() const;

 private:
  Vocabulary entries_;  // by id
  bool dense_ = true;
  PieceTable table_;
  std::int32_t empty_ = -1;  // the entry "", if there is one
};

/// What models answer alike whose words are entries of a vocabulary or its unknown token.
class WordModel : public TokenModel {
 public:
  /// Throws as VocabularyIndex does; that there is no entry `unknown` shows when it is needed.
  WordModel(Vocabulary vocabulary, std::string unknown, std::string_view place);

  std::int32_t size() const final { return vocabulary_.size(); }
  std::int32_t max_id() const final { return vocabulary_.max_id(); }
  std::optional<std::int32_t> id(std::string_view piece) const final {
    return vocabulary_.id(piece);
  }
  const std::string* piece(std::int32_t id) const final { return vocabulary_.piece(id); }
  std::optional<std::int32_t> unknown() const final;

 protected:
  /// The id of a word that the vocabulary does not cover; throws Error(format) without one.
  std::int32_t unknown_id() const;

  VocabularyIndex vocabulary_;

 private:
  std::string unknown_spelling_;
  std::int32_t unknown_;
};

/// The entry a byte falls back to, "<0x0A>".
std::string byte_fallback_spelling(unsigned char byte);

}  // namespace perilune
