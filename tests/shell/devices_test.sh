#!/bin/sh
# GPUs that nobody asked for, as scripts, the doctor and the command line see them. They are two
# that exist for tests only (tests/cuda/fake).
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
PERILUNE_PLUGINS=${PERILUNE_LIBRARY_DIR:-build/release}/tests/fake_gpu
export PERILUNE_PLUGINS
output=$(mktemp)
trap 'rm -f "$output"' EXIT
model=tests/golden/llama-gqa

expect() {  # what it is about, words of the output
  grep -e "$2" "$output" >/dev/null || { cat "$output"; echo "devices_test: $1: no \"$2\""; exit 1; }
}
script() {  # Lua
  "$perilune" -e "local pl = require 'perilune' $1" >"$output" 2>&1 || true
}

script 'for _, d in ipairs(pl.devices()) do print(d.name, d.kind, d.idle, d.memory == d.free) end'
expect "two GPUs are listed before they are used" "cuda:0.cuda.true.true"
expect "two GPUs are listed before they are used" "cuda:1.cuda.true.true"
script "pl.load('$model', { device = 'cuda:1' }) for _, d in ipairs(pl.devices()) do print(d.name, d.idle) end"
expect "one of them is in use" "cuda:0.true"
expect "one of them is in use" "cuda:1.nil"
script "print(pl.load('$model').device)"
expect "auto takes the first" "cuda:0"
"$perilune" doctor "$model" --device cpu >"$output" 2>&1 || true
expect "the doctor sees the model on the slower device" "cuda:0 is there and the model is on the processor"
"$perilune" doctor "$model" --device cuda >"$output" 2>&1 || true
if grep -e "is on the processor" "$output" >/dev/null; then
  cat "$output"
  echo "devices_test: the doctor blames a model that is on a GPU"
  exit 1
fi
# A program with nothing beside it, whose own name is that of a folder that is searched.
alone=$(mktemp -d)
cp "$perilune" "$alone/perilune"
PERILUNE_PLUGINS='' "$alone/perilune" -e "print(pcall(require('perilune').load, '$model', { device = 'emulator' }))" >"$output" 2>&1 || true
rm -rf "$alone"
expect "a plug-in that is not there" "was looked for beside the program"
# A script that leaves in the middle, with a GPU in use.
status=0
"$perilune" -e "local pl = require 'perilune' pl.load('$model', { device = 'cuda' }):forward { { 1, 2 } } os.exit(3)" >"$output" 2>&1 || status=$?
[ $status -eq 3 ] || { cat "$output"; echo "devices_test: os.exit(3) ends with $status"; exit 1; }
