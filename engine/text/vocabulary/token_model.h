// The third step of a tokenizer: pieces of text to ids of the vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/json.h"
#include "engine/text/unicode/aligned_text.h"

namespace perilune {

/// One token: bytes [first, last) of the text, and the piece (0-based) it is a part of.
struct ModelToken {
  std::int32_t id;
  std::uint32_t first, last;
  std::int32_t word;
};

/// Immutable and thread-safe (what it remembers to be faster included).
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// "bpe", "wordpiece", "unigram" or "wordlevel".
  virtual const char* kind() const = 0;
  /// Appends the tokens of `pieces` of `text`. Time is linear in the text up to a logarithm,
  /// whatever the text.
  virtual void tokenize(std::string_view text, std::span<const TextSpan> pieces,
                        std::vector<ModelToken>& out) const = 0;
  /// Entries of the vocabulary.
  virtual std::int32_t size() const = 0;
  /// The highest id.
  virtual std::int32_t max_id() const = 0;
  /// The entry as the file spells it (byte-level vocabularies: in their alphabet).
  virtual std::optional<std::int32_t> id(std::string_view piece) const = 0;
  /// The spelling of `id`; nullptr for an id without entry.
  virtual const std::string* piece(std::int32_t id) const = 0;
  virtual std::optional<std::int32_t> unknown() const = 0;
  /// Whether what goes on inside a word is spelled with a mark before it ("##ing").
  virtual bool marks_inner_pieces() const { return false; }
  /// Ids of <0x00> … where unknown characters fall back to bytes; else empty.
  virtual std::span<const std::int32_t> byte_ids() const { return {}; }
};

/// Spellings and their ids; unique both ways, ids below 2^24.
using Vocabulary = std::vector<std::pair<std::string, std::int32_t>>;

struct BpeOptions {
  bool raw_bytes = false;      // vocabulary and merges are spelled byte-level, text comes as bytes
  bool byte_fallback = false;  // unknown characters become <0xNN>
  bool ignore_merges = false;  // a piece that is an entry is that entry
  bool fuse_unknown = false;   // a run of unknown characters is one token
  std::optional<std::string> unknown;
  std::string continuing_prefix;   // before every character but a piece's first
  std::string end_of_word_suffix;  // after a piece's last
};

/// Byte pair encoding (Sennrich et al. 2016): `merges` by rank. Throws Error(format) naming
/// `place`.
std::unique_ptr<TokenModel> make_bpe(Vocabulary vocabulary,
                                     std::vector<std::pair<std::string, std::string>> merges,
                                     const BpeOptions& options, std::string_view place);
/// Byte pair encoding by ranks alone, as tiktoken does it: of two neighbours whose bytes together
/// are an entry, those with the lowest id join. `ranks` are raw bytes by id.
std::unique_ptr<TokenModel> make_rank_bpe(Vocabulary ranks, std::string_view place);

struct WordPieceOptions {
  std::string unknown = "[UNK]", continuing_prefix = "##";
  std::int64_t max_characters = 100;  // of a word; longer ones are unknown
};
/// WordPiece (Wu et al. 2016): the longest entry, again and again.
std::unique_ptr<TokenModel> make_wordpiece(Vocabulary vocabulary, const WordPieceOptions& options,
                                           std::string_view place);

/// `model` of a tokenizer.json: BPE, WordPiece, Unigram, WordLevel; without `type` by its keys.
/// Merges as "a b" or ["a", "b"]. Throws Error(unsupported) for an unknown type (naming it and the
/// known ones) and for dropout other than null or 0, Error(format) for bad fields.
std::unique_ptr<TokenModel> read_token_model(const Json& json, bool raw_bytes);

}  // namespace perilune
