// A batch's rows one by one, and how a batch prints.
#pragma once

#include "bindings/lua/edge/state.h"

namespace perilune::lua {

/// b:row(i) -> { ids=, length=, lost=, tokens=function, first_token=, pair_first_token= }
int batch_row(lua_State* L);
/// for i, row in b:rows() do
int batch_rows(lua_State* L);
/// tostring(b): rows of pieces, and what truncation dropped.
int batch_text(lua_State* L);

}  // namespace perilune::lua
