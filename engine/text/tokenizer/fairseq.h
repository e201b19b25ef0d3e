// SentencePiece files of models that count ids as fairseq does: XLM-RoBERTa (Conneau et al. 2020)
// and CamemBERT (Martin et al. 2020).
#pragma once

#include <memory>
#include <string>

#include "engine/text/sentencepiece/file.h"
#include "engine/text/tokenizer/config.h"

namespace perilune {

/// Whether the settings name such a model.
bool is_fairseq(const TokenizerConfig& config);
/// The tokenizer of `path`, read as `model`, with its special tokens in front, the others moved up
/// and <mask> at the end. Throws Error(format | unsupported): it must be a unigram model.
std::shared_ptr<Tokenizer> make_fairseq_tokenizer(const SentencePieceModel& model,
                                                  const std::string& path,
                                                  const TokenizerConfig& config);

}  // namespace perilune
