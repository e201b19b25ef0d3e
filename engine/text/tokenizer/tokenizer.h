// Text to ids and back. One class for every kind of tokenizer file.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/decode/stream_decoder.h"

namespace perilune {

/// Ids with a role; nullopt where the tokenizer has none.
struct SpecialTokens {
  std::optional<std::int32_t> bos, eos, pad, unk, cls, sep, mask;
};

/// A token that is looked for in the text before the vocabulary is asked.
struct AddedToken {
  std::int32_t id = -1;
  std::string content;
  bool special = false;      // left out by decode unless asked for
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool single_word = false;  // not inside a word
  bool normalized = true;    // looked for in the normalized text
};

struct EncodeOptions {
  bool special = true;    // put in bos, eos, cls, sep as the tokenizer does
  bool recognize = true;  // special and added tokens written out in the text become their ids
  bool tokens = false;    // fill Encoding::tokens
};

/// One token and where it came from.
struct Token {
  std::int32_t id = 0;
  std::size_t first = 0, last = 0;  // bytes [first, last) of its text; empty where it was put in
  bool special = false;
  int text = 0;            // 0: the text, 1: the pair, -1: put in
  std::int32_t word = -1;  // which piece of its text it is a part of, from 0; -1: put in
};

struct Encoding {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> type_ids;  // as long as ids, or empty: all zero
  std::vector<Token> tokens;           // as long as ids when asked for
};

/// Thread-safe while nobody calls add(). Text is bytes; invalid UTF-8 is read as U+FFFD.
class Tokenizer : public std::enable_shared_from_this<Tokenizer> {
 public:
  virtual ~Tokenizer() = default;

  /// "sentencepiece", "bpe", "wordpiece", "unigram", "wordlevel" or "tiktoken".
  virtual const char* kind() const = 0;
  /// Whether what goes on inside a word is spelled with a mark before it ("##ing").
  virtual bool marks_inner_pieces() const { return false; }
  /// Entries of the base vocabulary, without added tokens.
  virtual std::int32_t vocab_size() const = 0;
  /// The highest id that exists, added tokens included.
  virtual std::int32_t max_id() const = 0;
  /// The highest id of the base vocabulary or of a token in specials(): what an embedding must
  /// hold.
  virtual std::int32_t max_base_id() const = 0;
  virtual const SpecialTokens& specials() const = 0;
  /// Tokens; nullopt: no limit of its own.
  virtual std::optional<std::int64_t> model_max_length() const = 0;

  virtual Encoding encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  virtual Encoding encode_pair(std::string_view text, std::string_view pair,
                               const EncodeOptions& options = {}) const = 0;

  /// A decoder for one text. Needs the tokenizer to be held by a shared_ptr.
  virtual std::unique_ptr<StreamDecoder> decoder(const DecodeOptions& options = {}) const = 0;
  /// The text of `ids`. Throws Error(argument) for an id out of range.
  std::string decode(std::span<const std::int32_t> ids, const DecodeOptions& options = {}) const;

  /// The vocabulary's way to write `id`. Throws Error(argument) for an id out of range or unused.
  virtual std::string piece(std::int32_t id) const = 0;
  /// The text that spellings make together: what decode makes of them, with none left out and the
  /// spaces before punctuation kept.
  virtual std::string join(std::span<const std::string> pieces) const = 0;
  /// The id of exactly this piece or added token.
  virtual std::optional<std::int32_t> id(std::string_view piece) const = 0;
  /// Special tokens are left out by decode unless asked for. False for ids that do not exist.
  virtual bool is_special(std::int32_t id) const = 0;
  /// Whether `id` stands for one byte.
  virtual bool is_byte(std::int32_t id) const = 0;
  /// Every added token, by id.
  virtual const std::vector<AddedToken>& added_tokens() const = 0;
  /// Adds tokens after max_id() (those already there keep their id) and returns their ids. Not
  /// while another thread uses the tokenizer.
  virtual std::vector<std::int32_t> add(std::span<const std::string> pieces, bool special) = 0;

  /// A digest of every piece with its id, as they are when it is first asked for: what ids mean.
  /// Never 0.
  std::uint64_t vocabulary_digest() const;

  /// What padded views hold where no token is: what choose_pad was given, else specials().pad.
  std::optional<std::int32_t> pad() const { return chosen_pad_ ? chosen_pad_ : specials().pad; }
  /// From now on; encode and decode do not change. Throws Error(argument) for an id that does not
  /// exist. Not while another thread uses the tokenizer.
  void choose_pad(std::int32_t id);

  /// Contradictions found while loading, for Model::warnings.
  const std::vector<std::string>& warnings() const { return warnings_; }
  /// The file it was read from.
  const std::string& path() const { return path_; }
  /// Jinja sources by name, as the model's files carry them; most have one, "default".
  const std::map<std::string, std::string>& chat_templates() const { return chat_templates_; }
  /// "left" or "right", where its files say; else "". What they advise, not what is done.
  const std::string& padding_side() const { return padding_side_; }
  const std::string& truncation_side() const { return truncation_side_; }

 protected:
  std::map<std::string, std::string> chat_templates_;
  std::string padding_side_, truncation_side_;
  std::vector<std::string> warnings_;
  std::string path_;

 private:
  mutable std::atomic<std::uint64_t> digest_{0};
  std::optional<std::int32_t> chosen_pad_;
};

/// Whether ids of one mean the same in the other: every id has one piece. An added token may be
/// missing in one.
bool same_vocabulary(const Tokenizer& a, const Tokenizer& b);

}  // namespace perilune
