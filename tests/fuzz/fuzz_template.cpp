// Any bytes as a chat template, and after a NUL the JSON of its variables: a text within the limits
// or one error of the library's kind, never an error of the interpreter's own code. The lines of
// Lua that run are told to libFuzzer as coverage.
#include <cstdint>
#include <cstdio>
#include <lua.hpp>
#include <string_view>

namespace {

constexpr std::size_t kCounters = std::size_t{1} << 15;
__attribute__((section("__libfuzzer_extra_counters"))) std::uint8_t counters[kCounters];

void count_line(lua_State* lua, lua_Debug* record) {
  lua_getinfo(lua, "S", record);
  std::uint64_t hash = 1469598103934665603u;
  for (const char* c = record->short_src; *c != '\0'; ++c) {
    hash = (hash ^ static_cast<unsigned char>(*c)) * 1099511628211u;
  }
  hash = (hash ^ static_cast<std::uint64_t>(record->currentline)) * 1099511628211u;
  ++counters[(hash >> 20) % kCounters];
}

// The functions of the engine that the interpreter needs, and what one input goes through.
constexpr const char* kHarness = R"lua(
jit.off()
package.path = "stdlib/?.lua;stdlib/?/init.lua"
local mark = {}
package.preload["perilune.core"] = function()
  return { error = function(fields) error(setmetatable(fields, mark), 0) end,
           array = function(list) return setmetatable(list, mark) end,
           change_case = function(text, case) return case == "upper" and text:upper() or text:lower() end,
           all_characters = function(text, class) return class ~= "digit" or not text:find "%D" end }
end
local jinja = require "perilune.chat.jinja"
local codes = { argument = true, format = true, unsupported = true, length = true, option = true }
local messages = jinja.json [=[[{"role": "system", "content": "Be brief."},
  {"role": "user", "content": "H\u00e9llo <b>"}, {"role": "assistant", "content": null,
  "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1.0}}}]}]]=]
local tools = jinja.json '[{"type": "function", "function": {"name": "f", "parameters": {}}}]'
local options = { op = "chat", date = "2026-01-02", max_steps = 20000, max_bytes = 2 ^ 16 }
return function(input)
  local source, json = input:match "^([^%z]*)%z(.*)$"
  local fine, raised = pcall(function()
    local variables = { messages = messages, tools = tools, bos_token = "<s>", eos_token = "</s>",
                        add_generation_prompt = true }
    if json then variables.messages = jinja.json(json) end
    return #jinja.render(source or input, variables, options)
  end)
  if fine and raised > options.max_bytes then return "the output has " .. raised .. " bytes" end
  if fine or type(raised) == "table" and getmetatable(raised) == mark and codes[raised.code] then return nil end
  return type(raised) == "table" and "error code " .. tostring(raised.code) .. ": " .. tostring(raised.message) or tostring(raised)
end
)lua";

lua_State* make_state() {
  lua_State* lua = luaL_newstate();
  luaL_openlibs(lua);
  if (luaL_loadstring(lua, kHarness) != 0 || lua_pcall(lua, 0, 1, 0) != 0) {
    std::fprintf(stderr, "%s\n", lua_tostring(lua, -1));
    __builtin_trap();
  }
  lua_sethook(lua, count_line, LUA_MASKLINE, 0);
  return lua;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static lua_State* const lua = make_state();
  lua_pushvalue(lua, 1);
  lua_pushlstring(lua, reinterpret_cast<const char*>(data), size);
  const bool failed = lua_pcall(lua, 1, 1, 0) != 0;
  if (failed || !lua_isnil(lua, -1)) {
    std::fprintf(stderr, "broken: %s\n", lua_tostring(lua, -1));
    __builtin_trap();
  }
  lua_settop(lua, 1);
  return 0;
}
