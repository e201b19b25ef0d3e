#include "bindings/lua/text/encoded_text.h"

#include <algorithm>

#include "bindings/lua/edge/answer.h"
#include "bindings/lua/edge/arguments.h"

namespace perilune::lua {

namespace {

std::int64_t model_length(const Tokenizer& tokenizer) {
  if (const auto length = tokenizer.model_max_length()) return *length;
  throw Error(ErrorCode::length, "encode", "this tokenizer names no maximum length")
      .hint("truncate={ to=n }");
}

void read_length(lua_State* L, const Tokenizer& tokenizer, Truncation& truncation) {
  if (lua_type(L, -1) == LUA_TSTRING) {
    if (std::string(lua_tostring(L, -1)) != "model") {
      throw Error(ErrorCode::option, "encode",
                  "option truncate: expected \"model\" or a length, got " + describe_value(L, -1));
    }
    truncation.to = model_length(tokenizer);
    return;
  }
  truncation.to = to_integer(L, -1, "encode", "option truncate");
  if (truncation.to < 1) {
    throw Error(ErrorCode::option, "encode", "option truncate: a length of 1 or more");
  }
}

/// A stride that no text could be cut with is told at once, not when a long text comes.
void check_stride(const Tokenizer& tokenizer, const Truncation& truncation) {
  if (truncation.stride < 0) {
    throw Error(ErrorCode::option, "encode", "option stride: 0 or more");
  }
  if (truncation.stride == 0) return;
  const auto put_in = static_cast<std::int64_t>(tokenizer.encode("").ids.size());
  if (truncation.stride > truncation.to - put_in) {
    throw Error(ErrorCode::option, "encode",
                "option stride: " + std::to_string(truncation.stride) + " must be less than the " +
                    std::to_string(std::max<std::int64_t>(0, truncation.to - put_in)) +
                    " tokens of a text that a row of " + std::to_string(truncation.to) + " has");
  }
}

/// The value at the top: "model", a length, or { to=, side=, strategy=, stride=, windows= }.
Truncation to_truncation(lua_State* L, const Tokenizer& tokenizer) {
  Truncation truncation;
  if (!lua_istable(L, -1)) {
    read_length(L, tokenizer, truncation);
    return truncation;
  }
  Options options(L, -1, "encode: truncate");
  if (!options.push("to")) {
    throw Error(ErrorCode::option, "encode", "option truncate: `to` is missing")
        .hint("truncate={ to=n } or { to=\"model\" }");
  }
  read_length(L, tokenizer, truncation);
  lua_pop(L, 1);
  truncation.left = options.choice("side", {"right", "left"}) == "left";
  const auto strategy = options.choice("strategy", {"longest_first", "only_first", "only_second"});
  if (strategy == "only_first") truncation.strategy = Truncation::Strategy::only_first;
  if (strategy == "only_second") truncation.strategy = Truncation::Strategy::only_second;
  truncation.stride = options.integer("stride").value_or(0);
  truncation.windows = options.boolean("windows").value_or(false);
  options.done();
  check_stride(tokenizer, truncation);
  return truncation;
}

}  // namespace

EncodeSettings to_settings(lua_State* L, int index, const Tokenizer& tokenizer, const char* op) {
  Options options(L, index, op);
  EncodeSettings settings;
  settings.options.special = options.boolean("special").value_or(true);
  settings.options.recognize = options.boolean("recognize").value_or(true);
  if (options.push("truncate")) {
    if (!lua_isboolean(L, -1)) {
      settings.truncates = true;
      settings.options.tokens = true;
      settings.truncation = to_truncation(L, tokenizer);
    } else if (lua_toboolean(L, -1) != 0) {
      throw Error(ErrorCode::option, op, "option truncate: to what length?")
          .hint("truncate={ to=n } or { to=\"model\" }");
    }
    lua_pop(L, 1);
  }
  options.done();
  return settings;
}

Encoding encode_text(const Tokenizer& tokenizer, const EncodedText& text, bool tokens) {
  EncodeOptions options = text.settings.options;
  options.tokens = options.tokens || tokens || text.settings.truncates;
  return text.pair ? tokenizer.encode_pair(text.text, *text.pair, options)
                   : tokenizer.encode(text.text, options);
}

std::vector<Token> tokens_of(const Tokenizer& tokenizer, const RowPlace& place,
                             const std::vector<std::int32_t>& ids) {
  const EncodedText& text = *place.source;
  const Encoding encoding = encode_text(tokenizer, text, true);
  std::vector<std::uint32_t> kept;
  if (text.settings.truncates) {
    const auto rows = truncate(encoding, text.settings.truncation, "tokens");
    if (place.window < rows.size()) kept = rows[place.window].kept;
  }
  std::vector<Token> tokens;
  if (kept.empty()) {
    tokens = encoding.tokens;
  } else {
    for (const std::uint32_t index : kept) tokens.push_back(encoding.tokens[index]);
  }
  bool same = tokens.size() == ids.size();
  for (std::size_t i = 0; same && i < ids.size(); ++i) same = tokens[i].id == ids[i];
  if (!same) tokens.clear();
  return tokens;
}

void push_token(lua_State* L, const Tokenizer& tokenizer, const Token& token) {
  lua_createtable(L, 0, 7);
  set_field(L, "id", static_cast<std::int64_t>(token.id));
  set_field(L, "piece", tokenizer.piece(token.id));
  if (token.text >= 0) {
    set_field(L, "first", static_cast<std::int64_t>(token.first) + 1);
    set_field(L, "last", static_cast<std::int64_t>(token.last));
  }
  if (token.word >= 0) set_field(L, "word", static_cast<std::int64_t>(token.word) + 1);
  if (token.text == 1) set_field(L, "pair", true);
  set_field(L, "special", token.special);
  mark_answer(L);
}

EncodedText read_text(lua_State* L, int index, const EncodeSettings& settings,
                      const std::string& name) {
  if (!lua_istable(L, index)) return {to_text(L, index, "encode", name), {}, settings};
  Options fields(L, index, "encode");
  const auto text = fields.text("text");
  const auto pair = fields.text("pair");
  fields.done();
  if (!text) throw Error(ErrorCode::argument, "encode", name + ": `text` is missing");
  return {*text, pair, settings};
}

std::vector<EncodedRow> encode_rows(const Tokenizer& tokenizer, const EncodedText& text) {
  const Encoding encoding = encode_text(tokenizer, text, false);
  if (!text.settings.truncates) return {whole_row(encoding)};
  return truncate(encoding, text.settings.truncation, "encode");
}

}  // namespace perilune::lua
