// Whisper as CTranslate2 (faster-whisper) and whisper.cpp store it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/files/tensor_file.h"

namespace perilune {

/// Whether the file begins as a CTranslate2 model of Whisper does. False where it cannot be read.
bool is_ctranslate2_whisper(const std::string& path);
/// Whether the file begins as a GGML file of whisper.cpp does. False where it cannot be read.
bool is_ggml_whisper(const std::string& path);

/// Tensors under their published names ("encoder.layers.0.self_attn.q_proj.weight"); fused
/// projections are taken apart. int8 and int16 of CTranslate2 and the blocks of ggml read as the
/// float32 values that they stand for. Metadata: "format", and the numbers that the file holds by
/// the names it gives them ("encoder.num_heads"; "n_audio_head"). Everything is checked before a
/// byte is used. Throws Error(file | format | unsupported) naming file, tensor and numbers.
std::shared_ptr<const TensorFile> open_ctranslate2_whisper(const std::string& path);
std::shared_ptr<const TensorFile> open_ggml_whisper(const std::string& path);

/// What a GGML file holds of its tokenizer.
struct GgmlWhisperTokens {
  std::vector<std::string> bytes;  // of each token of text, by id: tiktoken's ranks
  std::int32_t vocab = 0;          // ids, special ones included
};
GgmlWhisperTokens read_ggml_whisper_tokens(const std::string& path);

}  // namespace perilune
