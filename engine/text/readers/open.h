// The tokenizer of a model folder or of a file, whatever kind of file it is.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/text/tokenizer/config.h"
#include "engine/text/tokenizer/tokenizer.h"

namespace perilune {

/// What a tokenizer's files do not say.
struct TokenizerLoad {
  std::optional<std::string> pattern;  // what tiktoken ranks are cut by
};

/// Reads the tokenizer of a model folder by the files that are there: tokenizer.json, else a
/// SentencePiece model, tiktoken ranks, vocab.json with merges.txt, or vocab.txt;
/// tokenizer_config.json and its like say which tokens have a role, and, but for tokenizer.json,
/// what is put in. A path of a file (vocab.json and merges.txt: either, or "vocab.json +
/// merges.txt") is read as its own library reads it, without the files beside it. Returns null,
/// with a plain sentence in `why_not`, where there is no tokenizer or one of a kind that is not
/// understood: such a model takes ids. Throws Error(file | format | unsupported) for a damaged
/// file.
std::shared_ptr<Tokenizer> load_tokenizer(const std::string& path, std::string* why_not = nullptr,
                                          const TokenizerLoad& options = {});

// Readers, one a file kind. A folder's readers also look at the JSON files beside the file
// (tokenizer_config.h) for roles, added tokens and lengths. All throw Error(file | format |
// unsupported).

/// tokenizer.json. `config` is null for the file alone.
std::shared_ptr<Tokenizer> load_tokenizer_json(const std::string& path,
                                               const TokenizerConfig* config);
/// vocab.json and merges.txt.
std::shared_ptr<Tokenizer> load_bpe_files(const std::string& vocab_path,
                                          const std::string& merges_path,
                                          const TokenizerConfig* config);
/// vocab.txt of BERT and its kin.
std::shared_ptr<Tokenizer> load_vocab_txt(const std::string& path, const TokenizerConfig* config);
/// tiktoken ranks. `pattern`: null means the one of the published model with this many ranks.
std::shared_ptr<Tokenizer> load_tiktoken(const std::string& path, const TokenizerConfig* config,
                                         const std::string* pattern);
/// The tokenizer in a GGML file of whisper.cpp.
std::shared_ptr<Tokenizer> load_ggml_whisper_tokenizer(const std::string& path);
/// The tokenizer in a GGUF file's metadata; null, saying why, for a file without one.
std::shared_ptr<Tokenizer> load_gguf_tokenizer(const std::string& path, std::string* why_not);

}  // namespace perilune
