// The steps that decoders are chained from. Each is for one text.
#pragma once

#include <memory>
#include <string>

#include "engine/text/decode/piece_decoder.h"
#include "engine/text/pattern/pattern.h"

namespace perilune {

using DecoderStep = std::unique_ptr<PieceDecoder>;

/// Gives everything on as it is.
DecoderStep pass_step();
/// A space before every piece but the first.
DecoderStep spaced_step();
/// Byte-level spellings to bytes, a piece with other characters to its own; gives whole characters,
/// U+FFFD for what is none.
DecoderStep byte_level_step();
/// A space before every piece but the first and those with `prefix`, which loses it.
DecoderStep wordpiece_step(std::string prefix, bool clean_up);
/// Which pieces lose their marks instead: the text was given one at its start. One string that
/// comes in parts (after a Fuse) is all first piece.
enum class MarksLost { none, first_piece, all };
/// `mark` to a space.
DecoderStep metaspace_step(std::string mark, MarksLost lost);
/// `suffix` to a space, in the last piece to nothing.
DecoderStep suffix_step(std::string suffix);
/// Runs of <0xNN> to the characters they spell; where they spell none, one U+FFFD a byte.
DecoderStep byte_fallback_step();
/// Up to `start` times `content` off the front of every piece, up to `stop` off its end.
DecoderStep strip_step(std::string content, std::size_t start, std::size_t stop);
DecoderStep replace_step(std::shared_ptr<const Pattern> pattern, std::string content);
/// Speech models: repeated pieces once, `pad` out, `delimiter` to a space.
DecoderStep ctc_step(std::string pad, std::string delimiter, bool clean_up);

// The same for one string that comes in parts (after a Fuse).
DecoderStep strip_stream_step(std::string content, std::size_t start, std::size_t stop);
DecoderStep replace_stream_step(std::string what, std::string content);
/// Holds everything back until the end, then pushes it into `step` as one piece.
DecoderStep whole_step(DecoderStep step);

}  // namespace perilune
