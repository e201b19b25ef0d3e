// Answers: tables that calls give back and that print in words instead of "table: 0x…".
#pragma once

#include "bindings/lua/edge/user_type.h"

namespace perilune::lua {

/// Pushes the metatable that all answers of a state share; the library puts its `__tostring` there
/// (pl.show).
void push_answer_metatable(lua_State* L);

/// Makes the table on top an answer.
void mark_answer(lua_State* L);

/// Makes the table on top an answer, and all tables in it that have no metatable.
void mark_answers(lua_State* L);

/// core.answer(t) → t: mark_answers; other values pass through. core.answer_metatable.
void add_answer(lua_State* L);

}  // namespace perilune::lua
