// core.change_case and core.all_characters: what templates ask of characters.
#pragma once

#include <lua.hpp>

namespace perilune::lua {

void add_characters(lua_State* L);

}  // namespace perilune::lua
