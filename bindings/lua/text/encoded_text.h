// Texts as a batch's rows were encoded from them, so that tokens can be placed in their text later.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/lua/edge/state.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "engine/text/tokenizer/truncation.h"

namespace perilune::lua {

struct EncodeSettings {
  EncodeOptions options;
  bool truncates = false;
  Truncation truncation;
};

/// The options of encode, ids and tokens at `index`.
EncodeSettings to_settings(lua_State* L, int index, const Tokenizer& tokenizer, const char* op);

/// One input of encode.
struct EncodedText {
  std::string text;
  std::optional<std::string> pair;
  EncodeSettings settings;
};

/// The input at `index`: a text, or { text=, pair= }. `name` says which in errors.
EncodedText read_text(lua_State* L, int index, const EncodeSettings& settings,
                      const std::string& name);
/// Its rows: one, or its windows.
std::vector<EncodedRow> encode_rows(const Tokenizer& tokenizer, const EncodedText& text);

/// The row of a batch: which of a text's windows it is.
struct RowPlace {
  std::shared_ptr<const EncodedText> source;
  std::size_t window = 0;
  std::int64_t first[2] = {0, 0};  // where the row begins in the text and in its pair
};

/// The whole encoding of a text, with tokens where asked for or needed for a cut.
Encoding encode_text(const Tokenizer& tokenizer, const EncodedText& text, bool tokens);

/// The tokens of a row, encoded again. Empty where the tokenizer would give other ids by now.
std::vector<Token> tokens_of(const Tokenizer& tokenizer, const RowPlace& place,
                             const std::vector<std::int32_t>& ids);

/// Pushes { id, piece, first, last, special, word, pair }: bytes of the text, 1-based and
/// inclusive; no first and last for what was put in.
void push_token(lua_State* L, const Tokenizer& tokenizer, const Token& token);

}  // namespace perilune::lua
