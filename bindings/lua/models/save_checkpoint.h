// Weights written as files, for Lua.
#pragma once

#include "lua.hpp"

namespace perilune::lua {

/// ck:save(path, { metadata key → text }, on_progress | nil): safetensors.
int save_checkpoint(lua_State* L);

/// ck:save_gguf(path, { keys={ { key, kind, value }, … }, like= (a GGUF file whose keys come
/// first), tensors={ { name=, sources={ … }, head_rows=, add=, values= (numbers, without sources)
/// }, … } }, on_progress | nil). A kind is "u32", "f32", "boolean", "string" or another of GGUF's,
/// or "array of" one.
int save_checkpoint_as_gguf(lua_State* L);

}  // namespace perilune::lua
