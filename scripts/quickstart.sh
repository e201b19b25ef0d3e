#!/bin/sh
# From a fresh clone to a first tale: installs what is missing, builds, runs scripts/quickstart.lua.
# Usage: sh scripts/quickstart.sh
set -eu
cd "$(dirname "$0")/.."

echo "== 1/3 packages"
sh scripts/install-packages.sh
echo "== 2/3 build, with the CUDA plug-in where nvcc is (a few minutes the first time)"
cmake --preset release
cmake --build --preset release --target perilune_with_devices
echo "== 3/3 build/release/perilune scripts/quickstart.lua"
exec build/release/perilune scripts/quickstart.lua
