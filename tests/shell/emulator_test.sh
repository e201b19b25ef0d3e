#!/bin/sh
# Families on the emulator: forward passes and generations against the reference values. With
# arguments, those model folders; without, three of tests/golden, in unlike orders of threads.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
output=$(mktemp)
trap 'rm -f "$output"' EXIT

compare() {  # order, folder
  status=0
  PERILUNE_DEVICE=emulator PERILUNE_EMULATOR_ORDER=$1 "$perilune" compare --strict "$2" \
    >"$output" 2>&1 || status=$?
  [ "$status" = 0 ] || { cat "$output"; echo "emulator_test: $2 is off, order $1"; exit 1; }
  grep 'kernels launched on emulator' "$output" >/dev/null ||
    { cat "$output"; echo "emulator_test: $2 did not run on the emulator"; exit 1; }
}

if [ $# -gt 0 ]; then
  for folder in "$@"; do
    for order in forward reverse shuffled:3; do compare $order "$folder"; done
  done
  exit 0
fi
compare shuffled:1 tests/golden/llama-gqa
grep ', [1-9][0-9]* passes each in one call' "$output" >/dev/null ||
  { cat "$output"; echo "emulator_test: no decode step was given to the emulator in one call"; exit 1; }
compare reverse tests/golden/bert-sequence
[ -n "${PERILUNE_SANITIZE:-}" ] || compare forward tests/golden/t5-gated-untied

# A device that does not exist is said in one sentence.
status=0
PERILUNE_DEVICE=emulater "$perilune" compare tests/golden/bert-sequence >"$output" 2>&1 || status=$?
[ "$status" = 1 ] && grep 'emulater' "$output" >/dev/null ||
  { cat "$output"; echo "emulator_test: an unknown device went by"; exit 1; }
