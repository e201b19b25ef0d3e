// A Lua state with the engine open, as a host would make it.
#pragma once

#include <string>

#include "bindings/lua/host/perilune_lua.h"

namespace perilune_test {

class Host {
 public:
  explicit Host(const perilune::lua::StateOptions& options = {}) : L(luaL_newstate()) {
    luaL_openlibs(L);
    perilune::lua::open(L, options);
  }
  ~Host() { close(); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void close() {
    if (L != nullptr) lua_close(L);
    L = nullptr;
  }

  /// Runs a chunk called script.lua, with `core` and `pl` at hand; "" or the error's message.
  std::string run(const std::string& code) {
    const std::string whole =
        "local core, pl = require 'perilune.core', require 'perilune' " + code;
    std::string message;
    if (luaL_loadbuffer(L, whole.data(), whole.size(), "@script.lua") != 0 ||
        lua_pcall(L, 0, 0, 0) != 0) {
      message = text(-1);
      lua_pop(L, 1);
    }
    return message;
  }

  /// tostring() of an expression, or "error: " and the message.
  std::string eval(const std::string& expression) {
    const std::string failed = run("RESULT = nil; RESULT = tostring((" + expression + "))");
    if (!failed.empty()) return "error: " + failed;
    lua_getglobal(L, "RESULT");
    const std::string value = text(-1);
    lua_pop(L, 1);
    return value;
  }

  lua_State* L;

 private:
  std::string text(int index) {
    if (lua_istable(L, index)) {
      lua_getfield(L, index, "message");
      std::string message = lua_isstring(L, -1) ? lua_tostring(L, -1) : "(no message)";
      lua_pop(L, 1);
      return message;
    }
    return lua_isstring(L, index) ? lua_tostring(L, index) : luaL_typename(L, index);
  }
};

/// Opens a golden model for tests that need one: locals json, c, ck, program, plan, pool.
inline const char* kTinyModel = R"lua(
  local passes, llama = require "perilune.loaded.passes", require "perilune.models.llama"
  local json = core.read_json "tests/golden/llama-gqa/config.json"
  local c = llama.config(json)
  local ck = core.checkpoint("tests/golden/llama-gqa", { prefixes = llama.prefixes, axes = c.axes })
  local program = passes.trace(ck, llama, c, "decode", "causal")
  local plan = core.plan(program, { compute = "f32" })
  local pool = core.cache({ plan }, { budget = 4 * 1024 * 1024 })
)lua";

}  // namespace perilune_test
