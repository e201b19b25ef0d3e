// What a GGUF file says of itself, for Lua.
#pragma once

#include "lua.hpp"

namespace perilune::lua {

/// gguf_head(path) → { version=, path= (of the first shard), values={ key → value }, counts={ key →
/// length of an array }, sizes={ tensor → sizes, slowest axis first }, files={ tensor → path } },
/// of all shards together. Values are numbers, strings, booleans, and arrays of up to kMostListed
/// numbers; nil for a file that is not GGUF.
int gguf_head(lua_State* L);

/// gguf_values(name of a type, u8 [block, bytes]) → f32 [block, value], or nil for a type that is
/// not known here.
int gguf_values(lua_State* L);

}  // namespace perilune::lua
