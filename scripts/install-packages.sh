#!/bin/sh
# Installs the Debian packages that building Perilune needs and that are not there yet.
# Usage: sh scripts/install-packages.sh [--dev] [--list]
#   --dev    also the tools that CI checks the sources with, and the hosts that examples/hosts is run in; where
#            nvcc is and cuobjdump is not, that one too, by pip, in build/tools
#   --list   print the packages' names and stop
set -eu

# package, or package:command where any program of that name will do
build="g++:g++ cmake:cmake ninja-build:ninja pkg-config:pkg-config ccache:ccache
  libluajit-5.1-dev libsentencepiece-dev libutf8proc-dev libpcre2-dev libpng-dev libjpeg-dev nlohmann-json3-dev catch2
  libsndfile1-dev libsoxr-dev libkissfft-dev zlib1g-dev"
dev="clang-format:clang-format clang-tidy:clang-tidy lua-check:luacheck liblua5.4-dev python3-pyte openmpi-bin:mpirun
  luajit:luajit neovim:nvim libsdl2-dev love:love xvfb:xvfb-run curl:curl abigail-tools:abidiff"

wanted=$build
list=no
for argument in "$@"; do
  case $argument in
    --dev) wanted="$build $dev" ;;
    --list) list=yes ;;
    -h | --help) sed -n '2,6s/^# //p' "$0"; exit 0 ;;
    *) echo "install-packages: unknown argument $argument (see --help)" >&2; exit 2 ;;
  esac
done

if [ $list = yes ]; then
  for entry in $wanted; do echo "${entry%%:*}"; done
  exit 0
fi

is_installed() {  # package
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
  echo "install-packages: not a Debian system, nothing installed. What Debian calls:"
  for entry in $wanted; do echo "  ${entry%%:*}"; done
  exit 0
fi

# Left out without an error: the test that wants it says that it was skipped.
bring_cuobjdump() {
  [ "$wanted" != "$build" ] || return 0
  PATH=$PATH:/usr/local/cuda/bin
  command -v nvcc >/dev/null 2>&1 || return 0
  if command -v cuobjdump >/dev/null 2>&1; then return 0; fi
  tools=$(dirname "$0")/../build/tools
  for there in "$tools"/nvidia/*/bin/cuobjdump; do
    if [ -x "$there" ]; then return 0; fi
  done
  python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore \
    --target "$tools" nvidia-cuda-cuobjdump ||
    echo "install-packages: pip could not bring cuobjdump" >&2
}

# nginx' module for Lua wants a LuaJIT in the place of Debian's own, on which all else here depends, and an installed
# nginx starts a server: both are unpacked, not installed. Left out without an error, as above.
bring_nginx_lua() {
  [ "$wanted" != "$build" ] || return 0
  tools=$(dirname "$0")/../build/tools
  [ ! -e "$tools/nginx/usr/sbin/nginx" ] || return 0
  mkdir -p "$tools/nginx"
  (cd "$tools/nginx" &&
    apt-get download -qq nginx libnginx-mod-http-lua libnginx-mod-http-ndk lua-resty-core lua-resty-lrucache libluajit2-5.1-2 &&
    for package in *.deb; do dpkg -x "$package" . && rm "$package"; done) >/dev/null 2>&1 ||
    echo "install-packages: apt-get could not bring nginx' module for Lua" >&2
}

bring_tools() {
  bring_cuobjdump
  bring_nginx_lua
}

missing=
for entry in $wanted; do
  package=${entry%%:*}
  command=${entry#"$package"}
  command=${command#:}
  if [ -n "$command" ] && command -v "$command" >/dev/null 2>&1; then continue; fi
  is_installed "$package" || missing="$missing $package"
done

if [ -z "$missing" ]; then
  bring_tools
  echo "install-packages: all packages are there"
  exit 0
fi
echo "install-packages: installing$missing"

as_root=
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "install-packages: this needs root and there is no sudo. As root, run:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends$missing" >&2
    exit 1
  fi
  as_root=sudo
fi

# shellcheck disable=SC2086 # the names are meant to be split
if ! { $as_root apt-get update -q &&
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; }; then
  echo "install-packages: apt-get could not install$missing; is there a network?" >&2
  exit 1
fi
bring_tools
