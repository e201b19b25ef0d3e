// The tokenizer in a GGUF file's metadata.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/gguf/head.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace perilune {

/// The tokenizer of `tokenizer.ggml.model` gpt2 (byte pairs), llama (SentencePiece), bert
/// (WordPiece) or t5 (unigram). Null, with a sentence in `why_not`, where the file has none. Throws
/// Error(unsupported) for another model or an unknown `tokenizer.ggml.pre`, Error(format).
std::shared_ptr<Tokenizer> read_gguf_tokenizer(const GgufFile& file,
                                               std::string* why_not = nullptr);

/// How a byte pair tokenizer cuts text, by the name in `tokenizer.ggml.pre`.
struct GgufPreTokenizer {
  std::vector<std::string> patterns;  // each cuts what the one before left
  bool ignore_merges = false;         // a piece that is an entry is that entry
  bool add_bos = false;               // unless the file says otherwise
  bool sentence_pairs = false;        // RoBERTa's: a separator between two texts
  bool characters = false;            // vocabulary of UTF-8 with spaces as U+2581, not of bytes
};

/// Null for a name that is not known.
const GgufPreTokenizer* gguf_pre_tokenizer(std::string_view name);
/// Every known name, sorted.
std::vector<std::string> gguf_pre_tokenizer_names();

// Shared by the readers of the kinds.

/// Token types, numbered as in the file.
enum class GgufTokenType : std::int64_t { undefined, normal, unknown, control, user, unused, byte };

/// The keys under `tokenizer.`, checked against one another.
struct GgufVocabulary {
  struct Entry {
    std::string_view text;
    GgufTokenType type = GgufTokenType::normal;
  };
  const GgufFile* file = nullptr;
  std::string model;                       // "gpt2"
  std::vector<Entry> entries;              // by id
  SpecialTokens specials;                  // with the defaults of the kind; all in range
  std::vector<std::int32_t> also_special;  // end of turn and the like
  std::optional<bool> add_bos, add_eos, add_sep, add_space_prefix;
  std::map<std::string, std::string> chat_templates;  // by name
  std::vector<std::string> warnings;

  const Entry& entry(std::int32_t id) const { return entries[static_cast<std::size_t>(id)]; }
  /// Whether `id` is left out by decoding: of type control, with a role, or known for ending turns.
  bool special(std::int32_t id) const;
  /// Control and user-defined tokens, and those with a role, by id. Their text is UTF-8.
  std::vector<AddedToken> added() const;
};

std::shared_ptr<Tokenizer> make_gguf_bpe(GgufVocabulary vocabulary);
std::shared_ptr<Tokenizer> make_gguf_wordpiece(GgufVocabulary vocabulary);
/// llama and t5.
std::shared_ptr<Tokenizer> make_gguf_sentencepiece(GgufVocabulary vocabulary);

}  // namespace perilune
