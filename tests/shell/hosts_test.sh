#!/bin/sh
# The hosts of examples/hosts, built against the installed package and run: each one that this machine has the
# means for; the others are named as skipped.
set -u
cd "$(dirname "$0")/../.."
build=${PERILUNE_LIBRARY_DIR:-build/release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 skipped=
root=$PWD
fail() { echo "FAILED: $1"; sed 's/^/  /' "$work/out" 2>/dev/null | tail -20; failures=$((failures + 1)); }
skip() { echo "skipped: $1"; skipped="$skipped $1"; }

if [ -n "${PERILUNE_SANITIZE:-}" ]; then echo "hosts are not instrumented"; exit 77; fi
cmake --install "$build" --prefix "$work/prefix" >"$work/out" 2>&1 || { fail "cmake --install"; exit 1; }
pc=$(find "$work/prefix" -name perilune.pc)
export PKG_CONFIG_PATH="${pc%/*}:${PKG_CONFIG_PATH:-}"
export LD_LIBRARY_PATH="${pc%/pkgconfig/perilune.pc}"
flags="$(pkg-config --cflags --libs perilune)" || fail "pkg-config knows no perilune"
tale=", a brave girl named Maya lived in a small house by the garden."
cd "$work" || exit 1   # nothing of the sources in reach but by whole paths

# expect NAME TEXT COMMAND...: it succeeds and says TEXT
expect() {
  name=$1 text=$2
  shift 2
  "$@" >"$work/out" 2>&1 || { fail "$name: status $?"; return; }
  grep -qF -- "$text" "$work/out" || fail "$name: does not say: $text"
}

if command -v cc >/dev/null 2>&1; then
  # shellcheck disable=SC2086
  cc -std=c99 -Wall -Wextra -pedantic -Werror -o c_tale "$root/examples/hosts/c/tale.c" $flags >out 2>&1 || fail "c: does not compile"
  expect "c" "$tale" ./c_tale
  ./c_tale /no/such/model >out 2>&1 && fail "c: no model is fine"
  grep -q "tale: file: " out || fail "c: says nothing of a model that is not there"
else
  skip c
fi

# shellcheck disable=SC2086
${CXX:-c++} -std=c++20 -Wall -Wextra -o cpp_classify "$root/examples/hosts/cpp/classify_folder.cpp" $flags -pthread >out 2>&1 || fail "cpp: does not compile"
mkdir texts
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do echo "A great place, number $i." >texts/$i.txt; done
echo "An awful place." >texts/bad.txt
expect "cpp" "bad.txt	NEGATIVE" ./cpp_classify texts
grep -q "18 of 18" out || fail "cpp: shows no progress"

if command -v python3 >/dev/null 2>&1; then
  expect "python" "Once upon a time$tale" python3 "$root/examples/hosts/python/tale.py"
else
  skip python
fi

if pkg-config --exists lua5.4; then
  # shellcheck disable=SC2086,SC2046
  cc -Wall -Wextra -o lua54 "$root/examples/hosts/lua54/host.c" $(pkg-config --cflags --libs lua5.4) $flags >out 2>&1 || fail "lua54: does not compile"
  expect "lua54" "Lua 5.4	Once upon a time$tale" ./lua54
  grep -q "max_new_tokens" out || fail "lua54: an error is no value"
else
  skip lua54
fi

cpath="$(find "$work/prefix" -path '*/lua/5.1/perilune.so')"
cpath="${cpath%/*}/?.so"
if command -v nvim >/dev/null 2>&1; then
  export XDG_STATE_HOME="$work/state" XDG_DATA_HOME="$work/data" XDG_CONFIG_HOME="$work/config"
  expect "neovim" "$tale" timeout 120 nvim --headless -u NONE -i NONE \
    --cmd "lua package.cpath = '$cpath;' .. package.cpath" \
    --cmd "lua package.path = '$root/examples/hosts/neovim/lua/?.lua;' .. package.path" \
    -c "luafile $root/examples/hosts/neovim/test.lua"
  tail -n 2 out
else
  skip neovim
fi

if pkg-config --exists sdl2; then
  # shellcheck disable=SC2086,SC2046
  cc -Wall -Wextra -o tavern "$root/examples/hosts/sdl/tavern.c" $(pkg-config --cflags --libs sdl2) $flags >out 2>&1 || fail "sdl: does not compile"
  export SDL_VIDEODRIVER=dummy TAVERN="$root/examples/hosts/sdl"
  # Which of his lines is last depends on how fast the machine is.
  expect "sdl" "smith: " ./tavern --frames 200 --picture last.bmp
  tail -n 1 out
  [ -s last.bmp ] || fail "sdl: keeps no picture"
else
  skip sdl
fi

if command -v love >/dev/null 2>&1 && command -v xvfb-run >/dev/null 2>&1; then
  export TAVERN_CPATH="$cpath" TAVERN_FRAMES=200 XDG_DATA_HOME="$work/love"
  mkdir -p "$work/love"
  unset SDL_VIDEODRIVER
  expect "love" "smith: " timeout 120 xvfb-run -a love "$root/examples/hosts/love"
  tail -n 1 out
  [ -n "$(find "$work/love" -name tavern.png)" ] || fail "love: keeps no picture"
else
  skip love
fi

nginx_lua=$root/build/tools/nginx/usr   # scripts/install-packages.sh --dev brings it
[ -e "$nginx_lua/lib/nginx" ] || nginx_lua=/usr
modules=$nginx_lua/lib/nginx/modules
nginx=$nginx_lua/sbin/nginx
if [ -e "$modules/ngx_http_lua_module.so" ] && [ -x "$nginx" ] && command -v curl >/dev/null 2>&1; then
  mkdir -p nginx/logs
  sed -e "s|@CPATH@|$cpath|; s|@FOLDER@|$work/nginx|g; s|/usr/lib/nginx/modules|$modules|" \
    -e "s|lua_package_cpath|lua_package_path \"$nginx_lua/share/lua/5.1/?.lua;;\"; &|" \
    "$root/examples/hosts/openresty/nginx.conf" >nginx/nginx.conf
  LD_LIBRARY_PATH="$nginx_lua/lib/x86_64-linux-gnu:$LD_LIBRARY_PATH"
  if "$nginx" -p "$work/nginx" -c "$work/nginx/nginx.conf" >out 2>&1; then
    curl -s --unix-socket "$work/nginx/socket" -d "Once upon a time" http://tale/ >out 2>&1
    grep -qF -- "$tale" out || fail "openresty: does not say: $tale"
    kill "$(cat nginx/nginx.pid)"
  else
    fail "openresty: nginx does not start"
  fi
else
  skip openresty
fi

[ $failures -eq 0 ] || { echo "hosts: $failures failed"; exit 1; }
[ -z "$skipped" ] || echo "hosts: skipped:$skipped"
echo "hosts: all that are here work"
