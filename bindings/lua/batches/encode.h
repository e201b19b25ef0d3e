// Texts to a batch of their ids.
#pragma once

#include "lua.hpp"

namespace perilune::lua {

/// tokenizer:encode(text | { text=, pair= } | list of them, options) -> Batch
int encode(lua_State* L);

}  // namespace perilune::lua
