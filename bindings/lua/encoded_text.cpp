#include "bindings/lua/encoded_text.h"

#include "bindings/lua/arguments.h"

namespace perilune::lua {

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
}

}  // namespace perilune::lua
