#!/bin/sh
# Random compositions over every family that writes, each type of keys and values, with adapters where there are some:
# scripts/prove_invariance.lua, COUNT in all (10,000 unless told), from SEED (1).
# Usage: sh tests/compositions.sh [COUNT] [SEED]
# The last line says how many answers were compared and how many differ; status 1 where one does.
set -u
cd "$(dirname "$0")/.."
count=${1:-10000}
seed=${2:-1}
program=${PERILUNE:-build/release/perilune}
models="llama-gqa llama-rope-linear llama-rope3-bf16 gpt2-plain gpt_neox-parallel phi-partial-rotary phi3-fused-qkv
  qwen2-bias qwen3-qknorm mistral-window gemma2-softcap llama-gptq-act-order t5-gated-untied bart-plain"
types="f32 f16 bf16 int8"
each=$(((count + 55) / 56))
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
for model in $models; do
  case $model in
    llama-gqa) adapters="adapters=tests/adapters/llama-list,tests/adapters/llama-embedding" ;;
    gpt2-plain) adapters="adapters=tests/adapters/gpt2-fused,tests/adapters/gpt2-embedding" ;;
    gpt_neox-parallel) adapters="adapters=tests/adapters/neox-fused" ;;
    phi3-fused-qkv) adapters="adapters=tests/adapters/phi3-fused" ;;
    qwen2-bias) adapters="adapters=tests/adapters/qwen2-bias" ;;
    *) adapters="" ;;
  esac
  for type in $types; do
    # shellcheck disable=SC2086  # none or one word
    if "$program" scripts/prove_invariance.lua "tests/golden/$model" --compositions "$each" --seed "$seed" "cache=$type" $adapters \
      >>"$log" 2>"$log.errors"; then
      tail -n 1 "$log"
    else
      status=1
      tail -n 1 "$log"
      cat "$log.errors"
    fi
    seed=$((seed + 1))
  done
done
rm -f "$log.errors"
awk '{ for (i = 2; i <= NF; ++i) { if ($i ~ /^compositions/) made += $(i - 1); if ($i ~ /^answers/) seen += $(i - 1)
         if ($i ~ /^differ/) differ += $(i - 1) } }
  END { printf "%d compositions, %d answers, %d differ\n", made, seen, differ }' "$log"
exit $status
