#include "bindings/lua/edge/guard.h"

#include <cstring>
#include <new>

namespace perilune::lua {

namespace {

constexpr char kErrorKey[2] = {0, 0};  // the addresses are registry keys: metatable, out of memory
constexpr const char* kLuaOutOfMemory = "not enough memory";  // what Lua itself raises
constexpr const char* kNoLuaMemory = "out of memory: Lua has none left";
constexpr const char* kStdlibPrefix = "@stdlib/";

int error_text(lua_State* L) {
  lua_pushliteral(L, "message");
  lua_rawget(L, 1);
  return 1;
}

int error_concat(lua_State* L) {
  for (int i = 1; i <= 2; ++i) {
    if (lua_istable(L, i)) {
      lua_pushliteral(L, "message");
      lua_rawget(L, i);
      lua_replace(L, i);
    }
    if (!lua_isstring(L, i)) {
      lua_pushfstring(L, "attempt to concatenate a %s with an error", luaL_typename(L, i));
      return lua_error(L);
    }
  }
  lua_settop(L, 2);
  lua_concat(L, 2);
  return 1;
}

void push_traceback(lua_State* L) {
  luaL_traceback(L, L, nullptr, 1);
}

ErrorCode code_by_name(const char* name) {
  if (name == nullptr) return ErrorCode::argument;
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    if (std::strcmp(error_code_name(code), name) == 0) return code;
  }
  return ErrorCode::argument;
}

/// Plain messages become error tables, so that all errors carry a traceback.
int with_traceback(lua_State* L) {
  if (lua_istable(L, 1)) return 1;
  lua_createtable(L, 0, 3);
  if (lua_isstring(L, 1)) {
    lua_pushvalue(L, 1);
  } else {
    lua_pushfstring(L, "(a %s was raised as an error)", luaL_typename(L, 1));
  }
  lua_setfield(L, -2, "message");
  lua_pushliteral(L, "script");
  lua_setfield(L, -2, "code");
  push_traceback(L);
  lua_setfield(L, -2, "traceback");
  push_error_metatable(L);
  lua_setmetatable(L, -2);
  return 1;
}

void set_string(lua_State* L, const char* key, const std::string& value) {
  lua_pushlstring(L, value.data(), value.size());
  lua_setfield(L, -2, key);
}

/// stdlib/perilune/loaded/passes.lua, which calls a family's functions.
bool calls_families(const lua_Debug& frame) {
  return std::strstr(frame.source, "/loaded/passes.lua") != nullptr;
}

/// Of such a frame: where the function that it called ends in a tail call, which has left no frame
/// of its own.
std::string tail_place(lua_State* L, lua_Debug& frame) {
  std::string place;
  for (int i = 1; const char* name = lua_getlocal(L, &frame, i); ++i) {
    if (std::strcmp(name, "tail_place") == 0 && lua_type(L, -1) == LUA_TSTRING) {
      place = lua_tostring(L, -1);
    }
    lua_pop(L, 1);
  }
  return place;
}

bool is_stdlib(const char* source) {
  return std::strncmp(source, kStdlibPrefix, 8) == 0;
}

std::string frame_place(lua_State* L, bool skip_stdlib, bool base_name) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame) != 0; ++level) {
    if (lua_getinfo(L, "Sl", &frame) == 0 || frame.currentline <= 0) continue;
    const bool between = calls_families(frame);
    std::string place = between ? tail_place(L, frame) : "";
    if (between && place.empty()) continue;
    if (skip_stdlib && is_stdlib(between ? ("@" + place).c_str() : frame.source)) continue;
    if (!between) {
      place = frame.source[0] == '@' ? frame.source + 1 : frame.short_src;
      place += ":" + std::to_string(frame.currentline);
    }
    return base_name ? place.substr(place.find_last_of('/') + 1) : place;
  }
  return "";
}

/// The error on its way out: with the script's line where nothing more precise is known.
void push_placed(lua_State* L, const Error& error) {
  const std::string where = script_place(L);
  Error placed = error;
  if (placed.place().empty()) placed.where(where);
  push_error(L, placed, where);
}

}  // namespace

void push_error_metatable(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kErrorKey[0]));
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, error_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, error_concat);
  lua_setfield(L, -2, "__concat");
  lua_pushliteral(L, "perilune.error");
  lua_setfield(L, -2, "__name");
  lua_pushlightuserdata(L, const_cast<char*>(&kErrorKey[0]));
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void push_error(lua_State* L, const Error& error, const std::string& where) {
  reserve_stack(L, 8);
  lua_createtable(L, 0, 8);
  set_string(L, "message", error.what());
  set_string(L, "code", error_code_name(error.code()));
  set_string(L, "op", error.op());
  if (!error.hint().empty()) set_string(L, "hint", error.hint());
  if (!where.empty()) set_string(L, "where", where);
  lua_createtable(L, static_cast<int>(error.operands().size()), 0);
  int position = 0;
  for (const std::string& operand : error.operands()) {
    lua_pushlstring(L, operand.data(), operand.size());
    lua_rawseti(L, -2, ++position);
  }
  lua_setfield(L, -2, "shapes");
  push_traceback(L);
  lua_setfield(L, -2, "traceback");
  push_error_metatable(L);
  lua_setmetatable(L, -2);
}

void prepare_out_of_memory(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kErrorKey[1]));
  push_error(L,
             Error(ErrorCode::memory, "perilune", "out of memory: the system has none left")
                 .hint("free tensors and models, or ask for less at once"),
             "");
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void push_out_of_memory(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kErrorKey[1]));
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);  // the state is not open yet
  lua_pushliteral(L, "perilune: out of memory");
}

namespace {

/// How a body ended.
enum class Outcome { done, failed, no_memory };

/// Pushes the table of an error; where that fails for memory, the one made beforehand.
void push_safely(lua_State* L, const Error& error, int top) {
  try {
    push_placed(L, error);
    return;
  } catch (...) {  // a C++ exception, or Lua's own
    lua_settop(L, top);
  }
  push_out_of_memory(L);
}

bool lua_out_of_memory(lua_State* L) {
  return lua_type(L, -1) == LUA_TSTRING && std::strcmp(lua_tostring(L, -1), kLuaOutOfMemory) == 0;
}

/// Runs the body once. Pushes an error's table unless memory ran out.
Outcome attempt(lua_State* L, Body body, int top, int& results) {
  try {
    reserve_stack(L, LUA_MINSTACK);
    results = body(L);
    return Outcome::done;
  } catch (const LuaError& error) {
    lua_settop(L, top);
    error.value()->push(L);
  } catch (const Error& error) {
    lua_settop(L, top);
    push_safely(L, error, top);
    if (error.code() == ErrorCode::memory) return Outcome::no_memory;
  } catch (const std::bad_alloc&) {
    lua_settop(L, top);
    push_out_of_memory(L);
    return Outcome::no_memory;
  } catch (const std::exception& error) {
    lua_settop(L, top);
    try {
      push_placed(L, Error(ErrorCode::internal, "perilune", error.what()));
    } catch (...) {
      lua_settop(L, top);
      push_out_of_memory(L);
    }
  } catch (...) {
    // Lua's own errors pass through C++ frames as exceptions, with their message on the stack.
    if (!lua_out_of_memory(L)) throw;
    lua_settop(L, top);
    push_out_of_memory(L);
    return Outcome::no_memory;
  }
  return Outcome::failed;
}

}  // namespace

int run_guarded(lua_State* L, Body body, bool retry) {
  const Entry entry(L);
  const int top = lua_gettop(L);
  for (;;) {
    int results = 0;
    const Outcome outcome = attempt(L, body, top, results);
    if (outcome == Outcome::done) return results;
    if (outcome != Outcome::no_memory || !retry) return -1;
    lua_settop(L, top);
    retry = false;
    try {
      lua_gc(L, LUA_GCCOLLECT, 0);  // what scripts no longer hold may be all that is missing
    } catch (...) {                 // a finalizer's error
      lua_settop(L, top);
    }
  }
}

std::string script_place(lua_State* L) {
  return frame_place(L, true, false);
}

std::string calling_place(lua_State* L) {
  return frame_place(L, false, true);
}

void throw_raised(lua_State* L, const char* op) {
  std::string message = "(a " + std::string(luaL_typename(L, -1)) + " was raised as an error)",
              name;
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "code");
    if (lua_type(L, -1) == LUA_TSTRING) name = lua_tostring(L, -1);
    lua_getfield(L, -2, "message");
    if (lua_type(L, -1) == LUA_TSTRING) message = lua_tostring(L, -1);
    lua_pop(L, 2);
  } else if (lua_isstring(L, -1)) {
    message = lua_tostring(L, -1);
    if (message == kLuaOutOfMemory) throw Error(ErrorCode::memory, op, kNoLuaMemory);
  }
  const Error error(code_by_name(name.c_str()), op, message);
  throw LuaError(error, std::make_shared<Reference>(state(L).anchor, L));
}

namespace {

/// Counts the calls that are running.
class Nested {
 public:
  Nested(Anchor& anchor, const char* op) : anchor_(anchor) {
    if (anchor_.depth >= kMostNested) {
      throw Error(ErrorCode::state, op,
                  "functions of scripts are nested " + std::to_string(kMostNested) +
                      " deep: each runs the engine, which calls the next")
          .hint("do not run the model from inside its own hooks and callbacks, or stop at a depth");
    }
    ++anchor_.depth;
  }
  ~Nested() { --anchor_.depth; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  Anchor& anchor_;
};

}  // namespace

void call(lua_State* L, int arguments, int results, const char* op) {
  const std::shared_ptr<Anchor> anchor = state(L).anchor;
  const Nested nested(*anchor, op);
  quiet_long_work();
  const int function = lua_gettop(L) - arguments;
  lua_pushcfunction(L, with_traceback);
  lua_insert(L, function);
  const int status = lua_pcall(L, arguments, results, function);
  lua_remove(L, function);
  if (status == 0) return;
  if (status == LUA_ERRERR && state(L).context->interrupted()) {  // Ctrl-C stopped the handler
    lua_pop(L, 1);
    throw Error(ErrorCode::cancelled, op, "interrupted");
  }
  if (status == LUA_ERRMEM) throw Error(ErrorCode::memory, op, kNoLuaMemory);
  throw_raised(L, op);  // on failure one value lies where the results would be
}

void reserve_stack(lua_State* L, int slots) {
  if (lua_checkstack(L, slots) == 0) {
    throw Error(ErrorCode::state, "perilune", "the Lua stack is full (too many nested calls)");
  }
}

}  // namespace perilune::lua
