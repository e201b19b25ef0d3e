#!/bin/sh
# Every example of scripts/ runs and prints what it is about; those of pipelines/ are short.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
output=$(mktemp)
trap 'rm -f "$output"' EXIT
# What a line of its output looks like, and how many there are at least.
shape_of() {
  case $(basename "$1" .lua) in
    answer) echo '3 ^0\.[0-9]+\tbytes [0-9]+ to [0-9]+\t' ;;
    classify) echo '50 ^(POSITIVE|NEGATIVE)\t[01]\.[0-9]{3}\t' ;;
    entities) echo '5 ^(PER|LOC|ORG|MISC)\t0\.[0-9]+\tbytes [0-9]+ to [0-9]+\t' ;;
    fill) echo '3 ^0\.[0-9]+\t.*was the youngest' ;;
    search) echo '5 ^[01]\.[0-9]{3}\t' ;;
    stages) echo '2 ^[0-9]+ tokens, [01]\.[0-9]+ sure: ' ;;
    write) echo '1 ^(length|stop)\t-?[0-9.]+\t.' ;;
    zero_shot) echo '3 ^(cooking|travel|war)\t0\.[0-9]+' ;;
    serve_many) echo '1 ^every answer is the same under both policies$' ;;
    try_them) echo '1 ^every answer is the same under all of them: 5 prompts$' ;;
    hear) echo '1 ^(load: the model whisper-tiny\.en is not on this machine|[0-9]+ segments in)' ;;
    find_pictures) echo '5 ^-?[01]\.[0-9]{3}\ttests/images/' ;;
    label_pictures) echo '6 ^tests/images/rgb\.(png|jpg)\t[01]\.[0-9]{3}\t.' ;;
    quantize_model) echo '1 ^perplexity of the prompt: [0-9.]+, quantized [0-9.]+$' ;;
    attention_map) echo '5 \\|' ;;
    *) echo "examples_test: nothing is said of what $1 prints" >&2; exit 1 ;;
  esac
}
for script in scripts/pipelines/*.lua scripts/serve_many.lua scripts/attention_map.lua scripts/quantize_model.lua \
  scripts/policies/try_them.lua; do
  case $script in scripts/pipelines/*) most=60 ;; *) most=100 ;; esac
  [ "$(wc -l <"$script")" -lt $most ] || { echo "examples_test: $script is not short" >&2; exit 1; }
  "$perilune" "$script" >"$output" 2>&1 || { cat "$output"; echo "examples_test: $script failed" >&2; exit 1; }
  shape=$(shape_of "$script")
  lines=$(grep -cP "${shape#* }" "$output" || true)
  [ "$lines" -ge "${shape%% *}" ] ||
    { cat "$output"; echo "examples_test: $script: $lines lines look like ${shape#* }, not ${shape%% *}" >&2; exit 1; }
done
echo "examples_test: all well"
