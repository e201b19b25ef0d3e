// Ids' spellings back to text, step by step, in a stream.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/base/json.h"

namespace perilune {

/// One step of a decoder, for one text. Steps are chained: each gets the strings that the one
/// before gave away.
class PieceDecoder {
 public:
  virtual ~PieceDecoder() = default;
  /// Takes the next spelling and appends to `out` what cannot change any more. The strings appended
  /// over a whole text, and by finish(), joined, are the published decoder's answer.
  virtual void push(std::string piece, std::vector<std::string>& out) = 0;
  virtual void finish(std::vector<std::string>& out) = 0;
};

/// Makes fresh decoders. Immutable and thread-safe.
class DecoderRecipe {
 public:
  virtual ~DecoderRecipe() = default;
  virtual std::unique_ptr<PieceDecoder> make() const = 0;
  /// Whether what it gives are bytes that only together are characters: they go through a
  /// Utf8Buffer. None of read_decoder's does; they give whole characters.
  virtual bool gives_bytes() const { return false; }
};

/// `decoder` of a tokenizer.json: ByteLevel, WordPiece, Metaspace, BPEDecoder, ByteFallback, Fuse,
/// Strip, Replace, CTC, Sequence; JSON null: pieces joined by spaces. Throws
/// Error(unsupported | format).
std::unique_ptr<DecoderRecipe> read_decoder(const Json& json);
std::unique_ptr<DecoderRecipe> make_byte_level_decoder();
std::unique_ptr<DecoderRecipe> make_wordpiece_decoder(std::string prefix, bool clean_up);

}  // namespace perilune
