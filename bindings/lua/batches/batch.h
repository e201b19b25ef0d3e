// Batch and its makers.
#pragma once

#include "lua.hpp"

namespace perilune::lua {

/// Batch, its makers, and the method of tokenizers that makes one (after add_tokenizer).
void add_batch(lua_State* L);

}  // namespace perilune::lua
