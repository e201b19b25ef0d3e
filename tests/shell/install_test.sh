#!/bin/sh
# What is installed works from where it was installed, with the sources out of reach.
set -eu
cd "$(dirname "$0")/../.."
build=${PERILUNE_LIBRARY_DIR:-build/release}
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
fail() { echo "install_test: $1"; exit 1; }

cmake --install "$build" --prefix "$prefix" >"$prefix/log" 2>&1 || { cat "$prefix/log"; fail "cmake --install failed"; }
program=$prefix/bin/perilune
[ -x "$program" ] || fail "there is no bin/perilune"
library=$(find "$prefix" -name 'libperilune.so.[0-9]' | head -n 1)
[ -n "$library" ] || fail "there is no libperilune.so with its version"
[ -L "$library" ] && [ -L "${library%.*}" ] || fail "libperilune.so is not a link to the file of its version"
for file in 'libperilune_emulator.so' 'tensor.lua' 'LICENSE' 'README.md'; do
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
