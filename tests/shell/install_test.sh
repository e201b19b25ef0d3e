#!/bin/sh
# What is installed works from where it was installed, with the sources out of reach.
set -eu
cd "$(dirname "$0")/../.."
build=${PERILUNE_LIBRARY_DIR:-build/release}
root=$PWD
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
fail() { echo "install_test: $1"; exit 1; }

cmake --install "$build" --prefix "$prefix" >"$prefix/log" 2>&1 || { cat "$prefix/log"; fail "cmake --install failed"; }
program=$prefix/bin/perilune
[ -x "$program" ] || fail "there is no bin/perilune"
library=$(find "$prefix" -name 'libperilune.so.[0-9]' | head -n 1)
[ -n "$library" ] || fail "there is no libperilune.so with its version"
[ -L "$library" ] && [ -L "${library%.*}" ] || fail "libperilune.so is not a link to the file of its version"
for file in 'perilune.h' 'perilune.hpp' 'perilune_lua.h' 'perilune.pc' 'perilune-config.cmake' 'libperilune.a' 'libperilune_emulator.so' 'tensor.lua' 'LICENSE' 'README.md'; do
  [ -n "$(find "$prefix" -name "$file")" ] || fail "there is no $file"
done

# A model by its whole path; no environment of the build's.
model=$PWD/tests/golden/llama-gqa
cd "$prefix"
unset PERILUNE_PLUGINS PERILUNE_STDLIB PERILUNE_LIBRARY_DIR PERILUNE_DEVICE
answer=$("$program" -e "local pl = require 'perilune'
  for _, device in ipairs { 'cpu', 'emulator' } do
    io.write(pl.load('$model', { device = device, tokenizer = false }):forward({ { 1, 2, 3 } }).logits:size 'batch', ' ')
  end")
[ "$answer" = "1 1 " ] || fail "the installed program answers: $answer"

# The README's first example, from a folder that has none of its files, with the models that were installed.
awk '/^```lua$/ { on = 1; next } /^```$/ { if (on) exit } on' "$root/README.md" >example.lua
awk '/^prints$/ { p = 1 } p && /^```$/ { if (on) exit; on = 1; next } on' "$root/README.md" >wanted
PERILUNE_DEVICE=cpu "$program" example.lua >said 2>&1 || { cat said; fail "the README's example fails"; }
cmp -s wanted said || { diff wanted said; fail "the README's example prints something else"; }

# The module, from its own place, finds them too.
if command -v luajit >/dev/null 2>&1 && [ -z "${PERILUNE_SANITIZE:-}" ]; then
  module=$(find "$prefix" -path '*/lua/5.1/perilune.so')
  said=$(luajit -e "package.cpath = '${module%/*}/?.so'
    print(require('perilune').load('scripts/models/reviews', { device = 'emulator' }).device)") || fail "the module fails"
  [ "$said" = emulator ] || fail "the module says: $said"
fi

# A project of a host's own.
mkdir project
cat >project/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.16)
project(host C)
find_package(perilune 0.1 REQUIRED)
add_executable(host host.c)
target_link_libraries(host PRIVATE perilune::perilune)
END
cat >project/host.c <<'END'
#include <perilune.h>
int main(void) {
  pl_instance instance = 0;
  return pl_open(0, &instance) || pl_close(instance);
}
END
if [ -z "${PERILUNE_SANITIZE:-}" ]; then
  { cmake -S project -B project/build -DCMAKE_PREFIX_PATH="$prefix" && cmake --build project/build; } >log 2>&1 || { tail -20 log; fail "find_package"; }
  project/build/host || fail "the project's program fails"
fi
