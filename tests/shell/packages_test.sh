#!/bin/sh
# The Debian packages: made twice they are the same byte for byte, lintian finds nothing (of the preset `package`,
# whose prefix is /usr), and what is in them works when unpacked into an empty root, from any folder.
set -u
cd "$(dirname "$0")/../.."
build=${PERILUNE_LIBRARY_DIR:-build/release}
root=$PWD
command -v dpkg-deb >/dev/null 2>&1 && command -v dpkg-shlibdeps >/dev/null 2>&1 || { echo "dpkg-dev is not here"; exit 77; }
[ -z "${PERILUNE_SANITIZE:-}" ] || { echo "packages are not instrumented"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "packages_test: $1"; exit 1; }
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 1700000000)
export SOURCE_DATE_EPOCH

for time in first second; do
  cpack --config "$build/CPackConfig.cmake" -D CPACK_DEBIAN_COMPRESSION_TYPE=gzip -B "$work/$time" >"$work/log" 2>&1 || { tail -20 "$work/log"; fail "cpack"; }
done
for package in perilune perilune-dev perilune-lua; do
  file=$(cd "$work/first" && ls "${package}"_*.deb 2>/dev/null) || fail "there is no package $package"
  cmp "$work/first/$file" "$work/second/$file" || fail "$package is not the same twice"
  dpkg-deb -x "$work/first/$file" "$work/root" || fail "$package cannot be unpacked"
done
dpkg-deb -f "$work"/first/perilune_*.deb Depends | grep -q libluajit-5.1-2 || fail "perilune does not depend on LuaJIT"
dpkg-deb -f "$work"/first/perilune-dev_*.deb Depends | grep -q "perilune (= " || fail "perilune-dev does not depend on perilune"

if command -v lintian >/dev/null 2>&1 && grep -q '^CMAKE_INSTALL_PREFIX:PATH=/usr$' "$build/CMakeCache.txt"; then
  lintian --allow-root --fail-on error,warning --no-tag-display-limit "$work"/first/*.deb >"$work/log" 2>&1 || { cat "$work/log"; fail "lintian"; }
  echo "lintian: nothing"
fi

# As after apt install, from a folder of its own.
unset PERILUNE_PLUGINS PERILUNE_STDLIB PERILUNE_LIBRARY_DIR PERILUNE_DEVICE
mkdir "$work/empty"
cd "$work/empty" || exit 1
awk '/^```lua$/ { on = 1; next } /^```$/ { if (on) exit } on' "$root/README.md" >example.lua
awk '/^prints$/ { p = 1 } p && /^```$/ { if (on) exit; on = 1; next } on' "$root/README.md" >wanted
program=$(find "$work/root" -path '*/bin/perilune')
PERILUNE_DEVICE=cpu "$program" example.lua >said 2>&1 || { cat said; fail "the README's example fails"; }
cmp -s wanted said || { diff wanted said; fail "the README's example prints something else"; }
"$program" --licenses | grep -q LuaJIT || fail "--licenses names no LuaJIT"
if command -v luajit >/dev/null 2>&1; then
  module=$(find "$work/root" -path '*/lua/5.1/perilune.so')
  luajit -e "package.cpath = '${module%/*}/?.so' assert(require('perilune').load('scripts/models/reviews'))" || fail "the module fails"
fi
echo "the packages work"
