// Ids to text, a token at a time, never cutting a character.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/utf8.h"

namespace perilune {

/// What a decoder keeps or drops.
struct DecodeOptions {
  bool special = false;    // true: special tokens appear as their pieces
  bool continues = false;  // true: the text follows other text, so a leading space is kept
};

/// Turns ids into text one by one. The pushes and the flush end to end equal decode() of all the
/// ids, whatever the ids are. Time is linear in the number of ids. Made by Tokenizer::decoder(); it
/// keeps its tokenizer alive.
class StreamDecoder {
 public:
  virtual ~StreamDecoder() = default;
  /// The text that became final with this id: complete UTF-8 characters that will not change any
  /// more, "" while one is open. Throws Error(argument) for an id the tokenizer does not have; the
  /// decoder is then as before the call.
  virtual std::string push(std::int32_t id) = 0;
  /// What was held back, with U+FFFD for bytes that never became a character; then ready for a new
  /// text.
  virtual std::string flush() = 0;
};

/// `text.replace(pattern, replacement)` for text that comes in parts. `pattern` is not empty.
class StreamReplace {
 public:
  StreamReplace(std::string pattern, std::string replacement)
      : pattern_(std::move(pattern)), replacement_(std::move(replacement)) {}
  /// Appends what cannot change any more.
  void push(std::string_view text, std::string& out);
  /// Appends what was held back.
  void flush(std::string& out);

 private:
  std::string pattern_, replacement_;
  std::string held_;  // the longest end of the text that begins `pattern_`
};

/// The published clean-up of spaces before punctuation and English contractions
/// (`clean_up_tokenization_spaces`), for text that comes in parts.
class StreamCleanUp {
 public:
  StreamCleanUp();
  void push(std::string_view text, std::string& out);
  void flush(std::string& out);

 private:
  std::vector<StreamReplace> steps_;
};

}  // namespace perilune
