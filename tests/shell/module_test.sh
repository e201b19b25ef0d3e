#!/bin/sh
# perilune.so in a LuaJIT that is there already: required from package.cpath, with the compiler on and off, in several
# states of one process that are closed in any order, and without anything that clashes with its host.
set -u
cd "$(dirname "$0")/../.."
build=${PERILUNE_LIBRARY_DIR:-build/release}
command -v luajit >/dev/null 2>&1 || { echo "there is no luajit here"; exit 77; }
[ -z "${PERILUNE_SANITIZE:-}" ] || { echo "luajit is not instrumented"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "module_test: $1"; exit 1; }
root=$PWD
module=$(cd "$build" && pwd)/lua

cat >"$work/tale.lua" <<END
package.cpath = "$module/?.so"
local pl = require "perilune"
assert(pl == require "perilune" and package.loaded.perilune == pl)
local m = pl.load("$root/scripts/models/tales", { compute = "f32" })
print(m:generate("Once upon a time", { max_new_tokens = 6, do_sample = false }).text)
local fine, err = pcall(pl.load, "/no/such/model")
print(fine, err.code)
END
wanted=', a brave girl named Maya
false	file'
cd "$work" || exit 1
for jit in on off; do
  said=$(luajit -j$jit tale.lua 2>&1) || fail "-j$jit: $said"
  [ "$said" = "$wanted" ] || fail "-j$jit says: $said"
done

cat >states.c <<'END'
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
enum { STATES = 4 };
static int run(lua_State* L, const char* text) {
  if (luaL_dostring(L, text) == 0) return 0;
  printf("%s\n", lua_tostring(L, -1));
  return 1;
}
int main(int argc, char** argv) {
  static const int orders[3][STATES] = {{0, 1, 2, 3}, {3, 1, 0, 2}, {2, 3, 1, 0}};
  char setup[1000];
  int failed = argc != 2;
  snprintf(setup, sizeof setup, "package.cpath = '%s/?.so'; pl = require 'perilune'; t = pl.ones { 1000 }; e = pl.tokenizer", argv[1]);
  for (int round = 0; round < 3 && !failed; ++round) {
    lua_State* states[STATES];
    for (int i = 0; i < STATES; ++i) {
      states[i] = luaL_newstate();
      luaL_openlibs(states[i]);
      failed |= run(states[i], setup);
    }
    for (int i = 0; i < STATES; ++i) {
      lua_close(states[orders[round][i]]);
      for (int j = i + 1; j < STATES; ++j) failed |= run(states[orders[round][j]], "assert(t:sum() == 1000)");
    }
  }
  return failed;
}
END
# shellcheck disable=SC2046
cc -o states states.c $(pkg-config --cflags --libs luajit) || fail "the host of several states does not compile"
./states "$module" || fail "several states"

shown=$(nm -D --defined-only "$module/perilune.so" | awk '{ print $3 }' | sort | tr '\n' ' ')
[ "$shown" = "luaopen_perilune pl_lua_open " ] || fail "perilune.so shows: $shown"
shown=$(nm -D --defined-only "$root/${build#"$root"/}/libperilune.so" 2>/dev/null || nm -D --defined-only "$build/libperilune.so")
other=$(echo "$shown" | awk '{ print $3 }' | grep -v -E '^(pl_[a-z_]+|PERILUNE_0)(@@.*)?$' || true)
[ -z "$other" ] || fail "libperilune.so shows: $other"
echo "$shown" | awk '{ print $3 }' | grep '^pl_' | sed 's/@.*//' | sort >symbols
cmp -s symbols "$root/tests/c/symbols.txt" || { diff "$root/tests/c/symbols.txt" symbols; fail "libperilune.so shows other functions than tests/c/symbols.txt says"; }
objdump -p "$module/../libperilune.so" | grep -q 'SONAME *libperilune.so.0$' || fail "libperilune.so has no versioned soname"
! objdump -p "$module/../libperilune.so" | grep -q 'NEEDED.*lua' || fail "libperilune.so is linked to a Lua, which its host's may stand in for"
echo "the module works"
