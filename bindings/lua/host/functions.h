// What core has beside the engine's types; each adds its functions to the table on top of the
// stack.
#pragma once

#include <string>

#include "lua.hpp"

namespace perilune::lua {

/// Clock, warnings, errors, interrupts, memory, the collector.
void add_state_functions(lua_State* L);
/// Devices and threads.
void add_device_functions(lua_State* L);
/// JSON and files.
void add_file_functions(lua_State* L);
/// What this machine can do.
void add_measure(lua_State* L);

/// StateOptions::stdlib_folder of what the state was opened with.
std::string stdlib_folder(lua_State* L);

}  // namespace perilune::lua
