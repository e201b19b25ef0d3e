// core.grammar and core.token_bytes.
#include "bindings/lua/serving/grammar.h"

#include <algorithm>

#include "bindings/lua/edge/json.h"
#include "bindings/lua/text/tokenizer.h"
#include "engine/base/utf8.h"
#include "engine/constrain/gbnf.h"
#include "engine/constrain/json_schema.h"
#include "engine/constrain/regex.h"
#include "engine/constrain/without.h"
#include "engine/serving/constraint.h"

namespace perilune::lua {

namespace {

constexpr std::size_t kMostVocabularies = 4;  // whose masks one grammar keeps
constexpr std::size_t kMostChoices = 100000;

/// A Lua table has no order, unless it was read from JSON and remembers it: members stand as
/// `required` names them, the others by name.
Json with_order(const Json& value) {
  if (value.is_array()) {
    Json list = Json::array();
    for (const Json& one : value.items()) list.push(with_order(one));
    return list;
  }
  if (!value.is_object()) return value;
  Json object = Json::object();
  for (const auto& [name, member] : value.members()) object.set(name, with_order(member));
  const Json* properties = object.find("properties");
  const Json* required = object.find("required");
  if (properties == nullptr || !properties->is_object()) return object;
  std::vector<std::string> names, first;
  for (const auto& [name, member] : properties->members()) names.push_back(name);
  if (!std::is_sorted(names.begin(), names.end())) return object;
  if (required != nullptr && required->is_array()) {
    for (const Json& name : required->items()) {
      if (name.is_string() && properties->has(name.as_string())) first.push_back(name.as_string());
    }
  }
  Json ordered = Json::object();
  for (const auto* list : {&first, &names}) {
    for (const std::string& name : *list) {
      if (!ordered.has(name)) ordered.set(name, properties->get(name));
    }
  }
  return object.set("properties", ordered);
}

std::string schema_text(lua_State* L, Options& options) {
  if (!options.push("text")) throw Error(ErrorCode::argument, "grammar", "there is no schema");
  std::string text = lua_istable(L, -1) ? write_json(with_order(to_json(L, -1)))
                                        : to_text(L, -1, "grammar", options.label("json_schema"));
  lua_pop(L, 1);
  return text;
}

Grammar grammar_of_choices(const std::vector<std::string>& choices) {
  if (choices.empty()) throw Error(ErrorCode::option, "choices", "there are none");
  if (choices.size() > kMostChoices) {
    throw Error(ErrorCode::length, "choices", "more than " + std::to_string(kMostChoices));
  }
  for (const std::string& choice : choices) {
    if (choice.empty()) throw Error(ErrorCode::option, "choices", "one of them is empty");
    if (!is_utf8(choice)) throw Error(ErrorCode::option, "choices", "one is not valid UTF-8");
  }
  Grammar grammar;
  const Grammar::Rule root = grammar.add_rule("of choices");
  grammar.define(root, grammar.texts(choices));
  return grammar;
}

/// core.grammar { kind=, text= | choices=, whitespace= } -> Grammar
int make_grammar(lua_State* L) {
  Options options(L, 1, "grammar");
  GrammarObject made;
  made.kind =
      options.choice("kind", {"regex", "json_schema", "gbnf", "choices", "without"}).value_or("");
  const bool compact = options.choice("whitespace", {"none", "some"}) == "none";
  const auto compile = [&] {
    if (made.kind == "regex") return regex_grammar(options.text("text").value_or(""));
    if (made.kind == "gbnf") return read_gbnf(options.text("text").value_or(""));
    if (made.kind == "json_schema") {
      return json_schema_grammar(schema_text(L, options),
                                 compact ? JsonSpace::none : JsonSpace::some);
    }
    if (made.kind == "without") {
      return grammar_without(options.texts("choices").value_or(std::vector<std::string>{}));
    }
    made.choices = std::make_shared<const std::vector<std::string>>(
        options.texts("choices").value_or(std::vector<std::string>{}));
    return grammar_of_choices(*made.choices);
  };
  made.automaton = std::make_shared<const Automaton>(compile());
  options.done();
  made.matcher = std::make_shared<Matcher>(made.automaton);
  if (made.matcher->complete(made.matcher->start())) {
    throw Error(ErrorCode::argument, "grammar", "only the empty text fits it");
  }
  push_object(L, std::move(made));
  return 1;
}

int accepts(lua_State* L) {
  const auto& grammar = self<GrammarObject>(L, "accepts");
  lua_pushboolean(L, fits(*grammar.matcher, to_text(L, 2, "accepts", "text")) ? 1 : 0);
  return 1;
}

int prefix(lua_State* L) {
  const auto& grammar = self<GrammarObject>(L, "prefix");
  lua_pushboolean(L, fits_so_far(*grammar.matcher, to_text(L, 2, "prefix", "text")) ? 1 : 0);
  return 1;
}

int kind(lua_State* L) {
  push_text(L, self<GrammarObject>(L, "kind").kind);
  return 1;
}

/// TokenBytes:text(ids): what ids add to a text that goes on.
int token_text(lua_State* L) {
  const auto& bytes = self<TokenBytesPointer>(L, "text");
  std::string text;
  for (const std::int32_t id : to_ids(L, 2, "text", "ids")) text += bytes->bytes(id, text.empty());
  push_text(L, text);
  return 1;
}

/// TokenBytes:holding(texts): the ids whose bytes hold one of them.
int token_holding(lua_State* L) {
  const auto& bytes = self<TokenBytesPointer>(L, "holding");
  const std::vector<std::string> texts = to_texts(L, 2, "holding", "texts");
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(bytes->size()); ++id) {
    const std::string_view own = bytes->bytes(id, false);
    const bool holds = std::any_of(texts.begin(), texts.end(), [&](const std::string& text) {
      return own.find(text) != std::string_view::npos;
    });
    if (holds) ids.push_back(id);
  }
  push_list(L, ids);
  return 1;
}

int tostring(lua_State* L) {
  const auto& grammar = self<GrammarObject>(L, "tostring");
  push_text(L, "Grammar " + grammar.kind + ", " + std::to_string(grammar.automaton->states()) +
                   " states");
  return 1;
}

/// core.token_bytes(tokenizer, continues) -> TokenBytes
int make_token_bytes(lua_State* L) {
  const auto& tokenizer = check_object<TokenizerPointer>(L, 1, "token_bytes", "tokenizer");
  push_object(
      L, TokenBytesPointer(std::make_shared<TokenBytes>(*tokenizer, lua_toboolean(L, 2) != 0)));
  return 1;
}

}  // namespace

std::shared_ptr<TokenMasks> GrammarObject::masks_for(const TokenBytesPointer& bytes) {
  for (const auto& known : masks) {
    if (known->bytes() == bytes) return known;
  }
  if (masks.size() >= kMostVocabularies) masks.erase(masks.begin());
  return masks.emplace_back(std::make_shared<TokenMasks>(automaton, bytes, lenient()));
}

void read_grammar(Options& options, RequestSpec& spec) {
  auto* grammar = options.object<GrammarObject>("grammar");
  const auto* bytes = options.object<TokenBytesPointer>("token_bytes");
  auto* without = options.object<GrammarObject>("without");
  if (bytes == nullptr) return;
  if (without != nullptr) {
    spec.hooks.processors.push_back(std::make_shared<Constraint>(without->masks_for(*bytes)));
  }
  if (grammar == nullptr) return;
  spec.constraint = std::make_shared<Constraint>(grammar->masks_for(*bytes), grammar->choices);
  spec.hooks.processors.insert(spec.hooks.processors.begin(), spec.constraint);
}

void set_choice(lua_State* L, const Request& request, const std::string& text) {
  if (!request.spec.constraint || text.size() < request.spec.echo.size()) return;
  if (const auto choice =
          request.spec.constraint->choice_of(text.substr(request.spec.echo.size()))) {
    set_field(L, "choice", static_cast<std::int64_t>(*choice) + 1);
  }
}

void add_grammar(lua_State* L) {
  constexpr Member kMethods[] = {{"accepts", guarded<accepts>}, {"prefix", guarded<prefix>}};
  constexpr Member kGetters[] = {{"kind", guarded<kind>}};
  constexpr Member kOperators[] = {{"__tostring", guarded<tostring>}};
  register_type<GrammarObject>(L, kMethods, kGetters, kOperators);
  constexpr Member kOfBytes[] = {{"text", guarded<token_text>},
                                 {"holding", guarded<token_holding>}};
  register_type<TokenBytesPointer>(L, kOfBytes, {});
  constexpr Member kFunctions[] = {{"grammar", guarded<make_grammar>},
                                   {"token_bytes", guarded<make_token_bytes>}};
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
