// The segmenter of a SentencePiece model.
#pragma once

#include <memory>

#include "engine/text/sentencepiece/file.h"
#include "engine/text/vocabulary/segmenter.h"

namespace perilune {

/// `model` is valid (parse_sentencepiece) and stays where it is.
std::unique_ptr<Segmenter> make_segmenter(const SentencePieceModel& model);

}  // namespace perilune
