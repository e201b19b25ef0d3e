// In the archive: the host links a LuaJIT beside it.
#include "bindings/c/luajit.h"

namespace perilune::c {

const char* open_luajit() {
  return nullptr;
}

}  // namespace perilune::c
