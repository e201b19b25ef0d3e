#!/bin/sh
# Makes the pictures of docs/hosts.md: the tavern in LÖVE, under a screen of its own (love, xvfb).
# Usage: sh scripts/host_pictures.sh      (after building; PERILUNE_LIBRARY_DIR for another build)
set -eu
cd "$(dirname "$0")/.."
build=${PERILUNE_LIBRARY_DIR:-build/release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
TAVERN_CPATH=$(cd "$build" && pwd)/lua/?.so TAVERN_FRAMES=150 XDG_DATA_HOME=$work xvfb-run -a love examples/hosts/love
mkdir -p docs/pictures
cp "$(find "$work" -name tavern.png)" docs/pictures/tavern_love.png
