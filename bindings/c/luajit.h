// Where the library's LuaJIT comes from.
#pragma once

namespace perilune::c {

/// Makes Lua's functions callable. Null, or why they are not.
const char* open_luajit();

}  // namespace perilune::c
