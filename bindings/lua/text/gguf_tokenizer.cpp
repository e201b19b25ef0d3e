#include "bindings/lua/text/gguf_tokenizer.h"

#include "bindings/lua/edge/arguments.h"
#include "engine/base/file.h"
#include "engine/text/readers/gguf.h"
#include "engine/text/sentencepiece/file.h"

namespace perilune::lua {
namespace {

constexpr std::uint64_t kMaxModelBytes = std::uint64_t{128} << 20;

GgufTokenType type_of(SentencePieceModel::Type type) {
  using Type = SentencePieceModel::Type;
  switch (type) {
    case Type::normal: return GgufTokenType::normal;
    case Type::unknown: return GgufTokenType::unknown;
    case Type::control: return GgufTokenType::control;
    case Type::user_defined: return GgufTokenType::user;
    case Type::unused: return GgufTokenType::unused;
    case Type::byte: return GgufTokenType::byte;
  }
  return GgufTokenType::undefined;
}

const char* name_of(SentencePieceModel::Algorithm algorithm) {
  using Algorithm = SentencePieceModel::Algorithm;
  switch (algorithm) {
    case Algorithm::unigram: return "unigram";
    case Algorithm::bpe: return "bpe";
    case Algorithm::word: return "word";
    case Algorithm::character: return "char";
  }
  return "?";
}

}  // namespace

int sentencepiece(lua_State* L) {
  const std::string path = to_text(L, 1, "save", "path");
  const SentencePieceModel model =
      parse_sentencepiece(read_file(path, kMaxModelBytes, "save"), base_name(path));
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<std::int64_t> types;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    texts.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(static_cast<std::int64_t>(type_of(piece.type)));
  }
  lua_newtable(L);
  set_field(L, "model", name_of(model.algorithm));
  set_field(L, "add_space_prefix", model.add_dummy_prefix);
  set_field(L, "remove_extra_whitespaces", model.remove_extra_whitespaces);
  set_field(L, "charsmap", model.charsmap);
  push_list(L, texts);
  lua_setfield(L, -2, "texts");
  push_list(L, scores);
  lua_setfield(L, -2, "scores");
  push_list(L, types);
  lua_setfield(L, -2, "types");
  return 1;
}

int gguf_cuts(lua_State* L) {
  lua_newtable(L);
  int next = 1;
  for (const std::string& name : gguf_pre_tokenizer_names()) {
    const GgufPreTokenizer& pre = *gguf_pre_tokenizer(name);
    lua_newtable(L);
    set_field(L, "name", name);
    push_list(L, pre.patterns);
    lua_setfield(L, -2, "patterns");
    set_field(L, "ignore_merges", pre.ignore_merges);
    set_field(L, "add_bos", pre.add_bos);
    lua_rawseti(L, -2, next++);
  }
  return 1;
}

}  // namespace perilune::lua
