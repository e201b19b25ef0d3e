// The second step of a tokenizer: normalized text to pieces that the model never merges across.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/text/unicode/aligned_text.h"

namespace perilune {

/// Immutable and thread-safe.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Refines `pieces` (ascending, not empty, not overlapping ranges of `text`, at first one range
  /// of everything); may change the text, for instance put ▁ for spaces. Appends nothing empty.
  virtual void split(AlignedText& text, std::vector<TextSpan>& pieces) const = 0;
  /// True where the model gets the UTF-8 bytes themselves instead of the characters that byte-level
  /// vocabularies write them as. Then the model must read its vocabulary in that alphabet.
  virtual bool raw_bytes() const { return false; }
  /// What trims offsets and decoding need to know: whether it puts a space before the text.
  virtual bool adds_prefix_space() const { return false; }
};

/// `pre_tokenizer` of a tokenizer.json: ByteLevel, Whitespace, WhitespaceSplit, BertPreTokenizer,
/// Metaspace (all prepend schemes, old spellings too), Split (all behaviors, invert), Digits,
/// Punctuation, CharDelimiterSplit, FixedLength, UnicodeScripts, Sequence. Null for JSON null.
/// Throws Error(unsupported) naming an unknown type and the known ones, Error(format) for bad
/// fields.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& json);

/// Byte-level with these patterns, each cutting what the one before left (GGUF `pre`, tiktoken); an
/// empty list: the text is one piece.
std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space,
                                              const std::vector<std::string>& patterns);
std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer();

/// GPT-2's own pattern (Radford et al. 2019), what ByteLevel with use_regex cuts by.
extern const char* const kGpt2Pattern;

}  // namespace perilune
