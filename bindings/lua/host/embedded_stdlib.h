// The Lua standard library, compiled into the program as bytes.
#pragma once

#include <cstddef>

namespace perilune {

using std::size_t;

/// One Lua module of stdlib/. All pointers live as long as the program.
struct EmbeddedModule {
  const char* name;             ///< As `require` asks for it: "perilune.models.llama".
  const char* file;             ///< Below the project's root: "stdlib/perilune/models/llama.lua".
  const unsigned char* source;  ///< The file's bytes, followed by a zero that is not counted.
  size_t size;                  ///< Bytes in `source`.
};

/// All modules, sorted by file. `stdlib/perilune/init.lua` is the module "perilune".
extern const EmbeddedModule kEmbeddedModules[];

/// How many modules `kEmbeddedModules` holds. May be 0.
extern const size_t kEmbeddedModuleCount;

}  // namespace perilune
