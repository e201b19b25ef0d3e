// Kinds llama and t5: pieces with scores, given to the same code as SentencePiece's own files.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/utf8.h"
#include "engine/text/readers/gguf.h"
#include "engine/text/sentencepiece/file.h"
#include "engine/text/tokenizer/sentencepiece.h"

namespace perilune {
namespace {

using Model = SentencePieceModel;

constexpr const char* kScores = "tokenizer.ggml.scores";
constexpr const char* kCharsmap = "tokenizer.ggml.precompiled_charsmap";

Model::Type type_of(GgufTokenType type) {
  switch (type) {
    case GgufTokenType::unknown: return Model::Type::unknown;
    case GgufTokenType::control: return Model::Type::control;
    case GgufTokenType::user: return Model::Type::user_defined;
    case GgufTokenType::unused: return Model::Type::unused;
    case GgufTokenType::byte: return Model::Type::byte;
    default: return Model::Type::normal;
  }
}

// The role says it best; some converters give that token the type control.
std::int32_t unknown_id(const GgufVocabulary& vocabulary) {
  if (vocabulary.specials.unk) return *vocabulary.specials.unk;
  const auto found = std::find_if(
      vocabulary.entries.begin(), vocabulary.entries.end(),
      [](const GgufVocabulary::Entry& entry) { return entry.type == GgufTokenType::unknown; });
  if (found == vocabulary.entries.end()) {
    throw Error(ErrorCode::format, "load",
                base_name(vocabulary.file->path()) + ": there is no unknown token");
  }
  return static_cast<std::int32_t>(found - vocabulary.entries.begin());
}

void read_pieces(const GgufVocabulary& vocabulary, Model& model) {
  const GgufFile& file = *vocabulary.file;
  const std::vector<float> scores = file.numbers(kScores);
  if (scores.size() != vocabulary.entries.size()) {
    throw Error(ErrorCode::format, "load",
                base_name(file.path()) + ": " + kScores + " has " + std::to_string(scores.size()) +
                    " entries, tokenizer.ggml.tokens " + std::to_string(vocabulary.entries.size()));
  }
  // Rows that pad the embedding are no tokens; some converters call them unknown.
  std::size_t count = scores.size();
  const auto unknown = static_cast<std::size_t>(unknown_id(vocabulary));
  const auto padding = [&](std::size_t id) {
    const GgufTokenType type = vocabulary.entries[id].type;
    return id != unknown && (type == GgufTokenType::unused || type == GgufTokenType::unknown) &&
           !vocabulary.special(static_cast<std::int32_t>(id));
  };
  while (count > 0 && padding(count - 1)) --count;
  for (std::size_t i = 0; i < count; ++i) {
    const GgufVocabulary::Entry& entry = vocabulary.entries[i];
    Model::Piece piece{std::string(entry.text), scores[i], type_of(entry.type)};
    if (piece.text.empty()) piece.text = "[EMPTY_" + std::to_string(i) + "]";
    if (i == unknown) {
      piece.type = Model::Type::unknown;
    } else if (piece.type == Model::Type::unknown) {
      piece.type = Model::Type::unused;
    }
    model.byte_fallback = model.byte_fallback || piece.type == Model::Type::byte;
    model.pieces.push_back(std::move(piece));
  }
}

// Phi-3's turn marks take the white space after them; files do not say so.
bool marks_take_space(const GgufFile& file) {
  std::string names(file.find_string("general.architecture").value_or(""));
  names += " " + std::string(file.find_string("general.name").value_or(""));
  std::transform(names.begin(), names.end(), names.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return names.find("phi3") != std::string::npos || names.find("phi-3") != std::string::npos;
}

TokenizerConfig config_of(const GgufVocabulary& vocabulary) {
  TokenizerConfig config;
  config.add_bos = vocabulary.add_bos;
  config.add_eos = vocabulary.add_eos;
  config.legacy = true;  // text after a special token gets a space of its own
  config.extra_ids = 0;
  config.chat_templates = vocabulary.chat_templates;
  const bool takes_space = marks_take_space(*vocabulary.file);
  for (AddedToken& token : vocabulary.added()) {
    token.special = token.special || token.content.compare(0, 10, "<extra_id_") == 0;
    const bool plain =
        token.content == "<unk>" || token.content == "<s>" || token.content == "<|endoftext|>";
    token.rstrip = takes_space && (token.special || token.content == "</s>") && !plain;
    config.added.emplace(token.id, std::move(token));
  }
  for (const NamedRole& named : named_roles()) {
    TokenizerConfig::Role& role = config.*named.role;
    role.given = true;
    if (const auto& id = vocabulary.specials.*named.id) role.token = config.added.at(*id);
  }
  return config;
}

}  // namespace

std::shared_ptr<Tokenizer> make_gguf_sentencepiece(GgufVocabulary vocabulary) {
  const GgufFile& file = *vocabulary.file;
  const bool t5 = vocabulary.model == "t5";
  Model model;
  model.algorithm = t5 ? Model::Algorithm::unigram : Model::Algorithm::bpe;
  model.add_dummy_prefix = vocabulary.add_space_prefix.value_or(true);
  model.remove_extra_whitespaces =
      file.find_boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(t5);
  if (file.has(kCharsmap)) model.charsmap = file.bytes(kCharsmap);
  read_pieces(vocabulary, model);
  // The same checks as for a file of its own.
  model = parse_sentencepiece(model.serialize(), base_name(file.path()));
  const SentencePieceRules rules{!t5, t5, true, 0};
  auto tokenizer = std::make_shared<SentencePieceTokenizer>(std::move(model), file.path(),
                                                            config_of(vocabulary), rules);
  tokenizer->warn(vocabulary.warnings);
  return tokenizer;
}

}  // namespace perilune
