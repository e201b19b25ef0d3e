// Tokenizer and its streaming decoder.
#include <algorithm>

#include "bindings/lua/edge/answer.h"
#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "bindings/lua/text/encoded_text.h"
#include "bindings/lua/text/gguf_tokenizer.h"
#include "bindings/lua/text/tokenizer.h"
#include "engine/text/readers/open.h"

namespace perilune::lua {

namespace {

/// core.tokenizer(path, { pattern= }) -> Tokenizer, or nil and the reason.
int load(lua_State* L) {
  Options options(L, 2, "tokenizer");
  TokenizerLoad how;
  how.pattern = options.text("pattern");
  options.done();
  std::string reason;
  auto tokenizer = load_tokenizer(to_text(L, 1, "tokenizer", "path"), &reason, how);
  if (tokenizer == nullptr) {
    lua_pushnil(L);
    push_text(L, reason);
    return 2;
  }
  push_object(L, std::move(tokenizer));
  return 1;
}

// ---------------------------------------------------------------- encoding

int ids(lua_State* L) {
  const auto& tokenizer = *self<TokenizerPointer>(L, "ids");
  const EncodeSettings settings = to_settings(L, 3, tokenizer, "ids");
  if (settings.truncation.windows) {
    throw Error(ErrorCode::option, "ids", "windows make several rows").hint("use tok:encode");
  }
  push_list(L, encode_rows(tokenizer, read_text(L, 2, settings, "text")).front().ids);
  return 1;
}

// ---------------------------------------------------------------- decoding

std::vector<std::int32_t> ids_argument(lua_State* L, int index, const char* op) {
  if (const Value* value = test_object<Value>(L, index)) {
    const auto list = value->tensor.to_integers();
    return {list.begin(), list.end()};
  }
  if (lua_type(L, index) == LUA_TUSERDATA) {
    throw Error(ErrorCode::argument, op,
                "ids: expected a list of ids, got " + describe_value(L, index))
        .hint("a batch's rows are batch:row(i).ids");
  }
  return to_ids(L, index, op, "ids");
}

int decode(lua_State* L) {
  const auto& tokenizer = *self<TokenizerPointer>(L, "decode");
  Options options(L, 3, "decode");
  DecodeOptions settings;
  settings.special = options.boolean("special").value_or(false);
  options.done();
  bool nested = false;
  if (lua_istable(L, 2)) {
    lua_rawgeti(L, 2, 1);
    nested = lua_istable(L, -1);
    lua_pop(L, 1);
  }
  if (!nested) {
    push_text(L, tokenizer.decode(ids_argument(L, 2, "decode"), settings));
    return 1;
  }
  const int count = static_cast<int>(list_length(L, 2, "decode", "rows"));
  lua_createtable(L, count, 0);
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, 2, i);
    push_text(L, tokenizer.decode(ids_argument(L, lua_gettop(L), "decode"), settings));
    lua_rawseti(L, -3, i);
    lua_pop(L, 1);
  }
  return 1;
}

int decoder(lua_State* L) {
  const auto& tokenizer = *self<TokenizerPointer>(L, "decoder");
  Options options(L, 2, "decoder");
  DecodeOptions settings;
  settings.special = options.boolean("special").value_or(false);
  settings.continues = options.boolean("continues").value_or(false);
  options.done();
  push_object(L, DecoderPointer(tokenizer.decoder(settings)));
  return 1;
}

int decoder_push(lua_State* L) {
  auto& decoder = *self<DecoderPointer>(L, "push");
  push_text(L, decoder.push(to_id(L, 2, "push", "id")));
  return 1;
}

int decoder_flush(lua_State* L) {
  push_text(L, self<DecoderPointer>(L, "flush")->flush());
  return 1;
}

// ---------------------------------------------------------------- looking

/// Positions are bytes of the text, 1-based and inclusive: text:sub(t.first, t.last).
int tokens(lua_State* L) {
  const auto& tokenizer = *self<TokenizerPointer>(L, "tokens");
  const EncodeSettings settings = to_settings(L, 3, tokenizer, "tokens");
  const EncodedText text = read_text(L, 2, settings, "text");
  const Encoding encoding = encode_text(tokenizer, text, true);
  lua_createtable(L, static_cast<int>(encoding.tokens.size()), 0);
  int position = 0;
  for (const Token& token : encoding.tokens) {
    push_token(L, tokenizer, token);
    lua_rawseti(L, -2, ++position);
  }
  mark_answer(L);
  return 1;
}

int id(lua_State* L) {
  const auto found = self<TokenizerPointer>(L, "id")->id(to_text(L, 2, "id", "piece"));
  if (!found) return 0;
  push_integer(L, *found);
  return 1;
}

int piece(lua_State* L) {
  push_text(L, self<TokenizerPointer>(L, "piece")->piece(to_id(L, 2, "piece", "id")));
  return 1;
}

int is_special(lua_State* L) {
  const auto& tokenizer = *self<TokenizerPointer>(L, "is_special");
  lua_pushboolean(L, tokenizer.is_special(to_id(L, 2, "is_special", "id")) ? 1 : 0);
  return 1;
}

/// tok:add{ "piece", ..., special= } -> ids
int add(lua_State* L) {
  auto& tokenizer = *self<TokenizerPointer>(L, "add");
  bool special = false;
  lua_settop(L, 2);
  if (lua_istable(L, 2)) {  // all but special are the pieces
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
      lua_pushvalue(L, -2);
      lua_pushvalue(L, -2);
      lua_rawset(L, 3);
    }
    lua_getfield(L, 3, "special");
    if (!lua_isnil(L, -1)) special = to_boolean(L, -1, "add", "special");
    lua_pushnil(L);
    lua_setfield(L, 3, "special");
    lua_pop(L, 1);
  }
  const auto pieces = to_texts(L, lua_gettop(L), "add", "pieces");
  if (pieces.empty()) throw Error(ErrorCode::argument, "add", "no pieces were given");
  (void)tokenizer.vocabulary_digest();  // of what its files say
  push_list(L, tokenizer.add(pieces, special));
  return 1;
}

/// tok:same_vocabulary(other) -> boolean
int same_vocabulary(lua_State* L) {
  const auto& tokenizer = *self<TokenizerPointer>(L, "same_vocabulary");
  const auto& other = check_object<TokenizerPointer>(L, 2, "same_vocabulary", "other");
  lua_pushboolean(L, perilune::same_vocabulary(tokenizer, *other) ? 1 : 0);
  return 1;
}

int join(lua_State* L) {
  const auto& tokenizer = *self<TokenizerPointer>(L, "join");
  push_text(L, tokenizer.join(to_texts(L, 2, "join", "pieces")));
  return 1;
}

// ---------------------------------------------------------------- fields

int marks_inner_pieces(lua_State* L) {
  const bool marks = self<TokenizerPointer>(L, "marks_inner_pieces")->marks_inner_pieces();
  lua_pushboolean(L, marks ? 1 : 0);
  return 1;
}

int kind(lua_State* L) {
  lua_pushstring(L, self<TokenizerPointer>(L, "kind")->kind());
  return 1;
}

int vocab_size(lua_State* L) {
  push_integer(L, self<TokenizerPointer>(L, "vocab_size")->vocab_size());
  return 1;
}

int max_id(lua_State* L) {
  push_integer(L, self<TokenizerPointer>(L, "max_id")->max_id());
  return 1;
}

int max_base_id(lua_State* L) {
  push_integer(L, self<TokenizerPointer>(L, "max_base_id")->max_base_id());
  return 1;
}

/// specials' __index: the pad, which scripts may choose. Upvalue: the tokenizer.
int read_special(lua_State* L) {
  const auto& tokenizer =
      check_object<TokenizerPointer>(L, lua_upvalueindex(1), "specials", "self");
  const bool pad = lua_type(L, 2) == LUA_TSTRING && std::string_view(lua_tostring(L, 2)) == "pad";
  if (!pad || !tokenizer->pad()) return 0;
  push_integer(L, *tokenizer->pad());
  return 1;
}

/// specials' __newindex. Upvalue: the tokenizer.
int choose_special(lua_State* L) {
  const auto& tokenizer =
      check_object<TokenizerPointer>(L, lua_upvalueindex(1), "specials", "self");
  const std::string role = to_text(L, 2, "specials", "role");
  if (role != "pad") {
    throw Error(
        ErrorCode::argument, "specials",
        "\"" + role + "\" cannot be chosen, only pad can: encode and decode know the others")
        .hint("change tokenizer_config.json, or give the option where it counts (eos_token_id=)");
  }
  tokenizer->choose_pad(to_id(L, 3, "specials", "pad"));
  return 0;
}

int specials(lua_State* L) {
  const SpecialTokens& special = self<TokenizerPointer>(L, "specials")->specials();
  const std::pair<const char*, const std::optional<std::int32_t>*> kRoles[] = {
      {"bos", &special.bos}, {"eos", &special.eos}, {"unk", &special.unk},
      {"cls", &special.cls}, {"sep", &special.sep}, {"mask", &special.mask}};
  lua_createtable(L, 0, 6);
  for (const auto& [name, value] : kRoles) {
    if (*value) set_field(L, name, static_cast<std::int64_t>(**value));
  }
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, guarded<read_special>, 1);
  lua_setfield(L, -2, "__index");
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, guarded_once<choose_special>, 1);
  lua_setfield(L, -2, "__newindex");
  lua_setmetatable(L, -2);
  return 1;
}

int added_tokens(lua_State* L) {
  lua_newtable(L);
  int position = 0;
  for (const AddedToken& token : self<TokenizerPointer>(L, "added_tokens")->added_tokens()) {
    lua_createtable(L, 0, 3);
    set_field(L, "id", static_cast<std::int64_t>(token.id));
    set_field(L, "piece", token.content);
    set_field(L, "special", token.special);
    lua_rawseti(L, -2, ++position);
  }
  return 1;
}

int model_max_length(lua_State* L) {
  const auto length = self<TokenizerPointer>(L, "model_max_length")->model_max_length();
  if (!length) return 0;
  push_integer(L, *length);
  return 1;
}

int chat_templates(lua_State* L) {
  const auto tokenizer = self<TokenizerPointer>(L, "chat_templates");
  lua_newtable(L);
  for (const auto& [name, source] : tokenizer->chat_templates()) {
    push_text(L, name);
    push_text(L, source);
    lua_rawset(L, -3);
  }
  return 1;
}

int push_side(lua_State* L, const std::string& side) {
  if (side.empty()) return 0;
  push_text(L, side);
  return 1;
}

int padding_side(lua_State* L) {
  return push_side(L, self<TokenizerPointer>(L, "padding_side")->padding_side());
}

int truncation_side(lua_State* L) {
  return push_side(L, self<TokenizerPointer>(L, "truncation_side")->truncation_side());
}

/// The first of them, each of a length that can be read: a damaged file has a million.
int warnings(lua_State* L) {
  constexpr std::size_t kMost = 100, kLength = 1000;
  std::vector<std::string> list;
  const std::vector<std::string>& all = self<TokenizerPointer>(L, "warnings")->warnings();
  for (std::size_t i = 0; i < std::min(all.size(), kMost); ++i) {
    list.push_back(all[i].size() <= kLength ? all[i] : all[i].substr(0, kLength) + "...");
  }
  if (all.size() > kMost) {
    list.push_back(std::to_string(all.size() - kMost) + " more warnings are left out");
  }
  push_list(L, list);
  return 1;
}

int path(lua_State* L) {
  push_text(L, self<TokenizerPointer>(L, "path")->path());
  return 1;
}

int tostring(lua_State* L) {
  const auto& tokenizer = *self<TokenizerPointer>(L, "tostring");
  push_text(L, std::string("Tokenizer ") + tokenizer.kind() + ", " +
                   std::to_string(tokenizer.vocab_size()) + " pieces, ids 0 to " +
                   std::to_string(tokenizer.max_id()));
  return 1;
}

}  // namespace

void add_tokenizer(lua_State* L) {
  constexpr Member kFunctions[] = {{"tokenizer", guarded<load>},
                                   {"sentencepiece", guarded<sentencepiece>},
                                   {"gguf_cuts", guarded<gguf_cuts>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"ids", guarded<ids>},         {"decode", guarded<decode>},
      {"decoder", guarded<decoder>}, {"tokens", guarded<tokens>},
      {"id", guarded<id>},           {"piece", guarded<piece>},
      {"join", guarded<join>},       {"is_special", guarded<is_special>},
      {"add", guarded_once<add>},    {"same_vocabulary", guarded<same_vocabulary>},
  };
  constexpr Member kGetters[] = {
      {"kind", guarded<kind>},
      {"marks_inner_pieces", guarded<marks_inner_pieces>},
      {"vocab_size", guarded<vocab_size>},
      {"max_id", guarded<max_id>},
      {"max_base_id", guarded<max_base_id>},
      {"specials", guarded<specials>},
      {"added_tokens", guarded<added_tokens>},
      {"model_max_length", guarded<model_max_length>},
      {"chat_templates", guarded<chat_templates>},
      {"padding_side", guarded<padding_side>},
      {"truncation_side", guarded<truncation_side>},
      {"warnings", guarded<warnings>},
      {"path", guarded<path>},
  };
  constexpr Member kOperators[] = {{"__tostring", guarded<tostring>}};
  register_type<TokenizerPointer>(L, kMethods, kGetters, kOperators);
  constexpr Member kDecoderMethods[] = {
      {"push", guarded_once<decoder_push>},
      {"flush", guarded_once<decoder_flush>},
  };
  register_type<DecoderPointer>(L, kDecoderMethods, {});
}

}  // namespace perilune::lua
