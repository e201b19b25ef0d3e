#include "bindings/lua/edge/answer.h"

namespace perilune::lua {

namespace {

constexpr char kAnswerKey = 0;  // its address is a registry key
constexpr int kDeepest = 6;     // tables in tables that are marked

void mark_within(lua_State* L, int depth) {
  if (lua_type(L, -1) != LUA_TTABLE || depth == 0) return;
  if (lua_getmetatable(L, -1) != 0) {
    lua_pop(L, 1);
    return;
  }
  mark_answer(L);
  reserve_stack(L, 6);
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) mark_within(L, depth - 1);
}

int answer(lua_State* L) {
  lua_settop(L, 1);
  mark_answers(L);
  return 1;
}

}  // namespace

void push_answer_metatable(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kAnswerKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_type(L, -1) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushlightuserdata(L, const_cast<char*>(&kAnswerKey));
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void mark_answer(lua_State* L) {
  push_answer_metatable(L);
  lua_setmetatable(L, -2);
}

void mark_answers(lua_State* L) {
  mark_within(L, kDeepest);
}

void add_answer(lua_State* L) {
  constexpr Member kFunctions[] = {{"answer", guarded<answer>}};
  set_functions(L, kFunctions);
  push_answer_metatable(L);
  lua_setfield(L, -2, "answer_metatable");
}

}  // namespace perilune::lua
