// What a GGUF file has to say of a tokenizer, for the Lua that writes one.
#pragma once

#include "lua.hpp"

namespace perilune::lua {

/// core.sentencepiece(path) → { model="bpe"|"unigram"|"word"|"char", texts={ … }, scores={ … },
/// types={ … } (as GGUF numbers them), add_space_prefix=, remove_extra_whitespaces=, charsmap= }.
int sentencepiece(lua_State* L);

/// core.gguf_cuts() → list of { name=, patterns={ … }, ignore_merges=, add_bos= }, sorted: how
/// texts are cut by the names in tokenizer.ggml.pre.
int gguf_cuts(lua_State* L);

}  // namespace perilune::lua
