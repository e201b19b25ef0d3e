// Grammars that answers keep to, and the bytes of a tokenizer's tokens, as scripts hold them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bindings/lua/edge/arguments.h"
#include "engine/constrain/token_masks.h"
#include "engine/serving/scheduler.h"

namespace perilune::lua {

using TokenBytesPointer = std::shared_ptr<const TokenBytes>;
template <>
struct TypeName<TokenBytesPointer> {
  static constexpr const char* value = "TokenBytes";
};

/// Compiled once; what a vocabulary's tokens are to it is found while it is used, and kept.
struct GrammarObject {
  std::string kind;  // of pl.grammar: "regex", "json_schema", "gbnf", "choices" or "without"
  std::shared_ptr<const Automaton> automaton;
  std::shared_ptr<Matcher> matcher;  // for accepts and prefix
  std::shared_ptr<const std::vector<std::string>> choices;
  std::vector<std::shared_ptr<TokenMasks>> masks;  // by vocabulary, newest last
  bool lenient() const { return kind == "without"; }

  std::shared_ptr<TokenMasks> masks_for(const TokenBytesPointer& bytes);
};
template <>
struct TypeName<GrammarObject> {
  static constexpr const char* value = "Grammar";
};

/// Reads grammar= and token_bytes= into the spec, before the other processors.
void read_grammar(Options& options, RequestSpec& spec);
/// Sets choice= in the table on top, the position of a text that was one of choices=.
void set_choice(lua_State* L, const Request& request, const std::string& text);
void add_grammar(lua_State* L);

}  // namespace perilune::lua
