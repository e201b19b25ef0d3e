#include "bindings/lua/text/characters.h"

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/edge/user_type.h"
#include "engine/base/error.h"
#include "engine/text/unicode/letter_case.h"

namespace perilune::lua {
namespace {

/// change_case(text, "lower"): the text in another case, as Python's str has them.
int change_text_case(lua_State* L) {
  const std::string text = to_text(L, 1, "change_case", "text");
  const std::string name = to_text(L, 2, "change_case", "case");
  const auto wanted = letter_case(name);
  if (!wanted) throw Error(ErrorCode::option, "change_case", "no letter case is called " + name);
  push_text(L, change_case(text, *wanted));
  return 1;
}

/// all_characters(text, "alpha"): whether every character is of a class.
int all_of_class(lua_State* L) {
  const std::string text = to_text(L, 1, "all_characters", "text");
  const std::string name = to_text(L, 2, "all_characters", "class");
  const auto wanted = character_class(name);
  if (!wanted) throw Error(ErrorCode::option, "all_characters", "no class is called " + name);
  lua_pushboolean(L, all_characters(text, *wanted) ? 1 : 0);
  return 1;
}

}  // namespace

void add_characters(lua_State* L) {
  constexpr Member kFunctions[] = {
      {"change_case", guarded<change_text_case>},
      {"all_characters", guarded<all_of_class>},
  };
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
