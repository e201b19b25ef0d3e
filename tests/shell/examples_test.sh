#!/bin/sh
# Every example of scripts/pipelines runs and prints something, and is short.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
output=$(mktemp)
trap 'rm -f "$output"' EXIT
for script in scripts/pipelines/*.lua; do
  [ "$(wc -l <"$script")" -lt 60 ] || { echo "examples_test: $script is not short" >&2; exit 1; }
  "$perilune" "$script" >"$output" 2>&1 || { cat "$output"; echo "examples_test: $script failed" >&2; exit 1; }
  [ -s "$output" ] || { echo "examples_test: $script printed nothing" >&2; exit 1; }
done
echo "examples_test: all well"
