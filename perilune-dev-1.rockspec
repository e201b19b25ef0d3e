rockspec_format = "3.0"
package = "perilune"
version = "dev-1"
source = { url = "git+file://." }
description = {
  summary = "Transformer models run from Lua",
  detailed = "perilune.so for LuaJIT 2.1; needs a C++20 compiler, CMake, nlohmann/json, utf8proc, PCRE2, libpng and libjpeg as -dev packages.",
  license = "Apache-2.0",
}
supported_platforms = { "linux" }
dependencies = { "lua == 5.1" }
build = {
  type = "command",
  build_command = "cmake -S . -B build/rock -DCMAKE_BUILD_TYPE=Release -DPERILUNE_TESTS=OFF -DPERILUNE_BENCHES=OFF -DPERILUNE_CUDA=OFF"
    .. " && cmake --build build/rock --target perilune_module --parallel `nproc`",
  install_command = "cmake -E make_directory $(LIBDIR) && cmake -E copy build/rock/lua/perilune.so $(LIBDIR)/perilune.so"
    .. " && cmake -E copy_directory stdlib/perilune/types $(PREFIX)/types",
}
