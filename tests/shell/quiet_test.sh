#!/bin/sh
# The library writes nothing of its own to its host's streams: mistakes of every kind, caught by the
# script that makes them, leaves standard error empty and on standard output what the script prints.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cp -r tests/golden/llama-gqa "$folder/damaged"
printf 'no header at all' >"$folder/damaged/model.safetensors"
cat >"$folder/mistakes.lua" <<'END'
local pl = require "perilune"
local folder = arg[1]
pl.on_warning(function() end)
local caught = 0
local function wrong(f, ...)
  local _, err = pl.try(f, ...)
  assert(err ~= nil, "that was no mistake")
  caught = caught + 1
end
wrong(pl.load, folder .. "/nowhere")
wrong(pl.load, folder .. "/damaged")
wrong(pl.load, "tests/golden/llama-gqa", { device = "cuda:77" })
wrong(pl.tokenizer, "tests/golden/llama-gqa/model.safetensors")
local m = pl.load("tests/golden/llama-gqa", { compute = "f32" })
wrong(m.forward, m, { { 99999 } })
wrong(m.generate, m, "text", { max_new_tokens = -1 })
wrong(m.generate, m, { 1, 5 }, { processors = { function() error "from inside" end } , max_new_tokens = "x" })
local e = pl.engine(m, { policy = function() error "a policy that fails" end })
e:submit({ 1, 5 }, { max_new_tokens = 2 })
wrong(e.step, e)
local line = pl.engine(m):submit({ 1, 5 }, { max_new_tokens = 2, on_token = function() error "a callback that fails" end })
wrong(pl.zeros, { -1 })
wrong(pl.zeros({ 2 }, { axes = { "a" } }).matmul, pl.zeros({ 3 }, { axes = { "b" } }), 7)
m:generate({ 1, 5 }, { max_new_tokens = 3, do_sample = false, num_beams = 1 })
line = nil
collectgarbage()
print("caught", caught)
END
"$perilune" "$folder/mistakes.lua" "$folder" >"$folder/out" 2>"$folder/err" ||
  { cat "$folder/out" "$folder/err"; echo "quiet_test: the script failed" >&2; exit 1; }
[ ! -s "$folder/err" ] || { cat "$folder/err"; echo "quiet_test: something was written to standard error" >&2; exit 1; }
[ "$(cat "$folder/out")" = "caught	10" ] || { cat "$folder/out"; echo "quiet_test: something else was printed" >&2; exit 1; }
echo "quiet_test: all well"
