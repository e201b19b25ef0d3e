#!/bin/sh
# A first hour on a GPU in one command of about ten minutes: is it there, are the kernels right, are
# the models right, does a batch change nothing, how fast is it, what do NVIDIA's checkers say.
# Verdicts come last; everything that was printed lies in one file.
#   sh tests/gpu/day.sh [--device cuda|emulator] [--minutes N] [--only PATTERN] [--log FILE]
# With --device emulator everything is tried at small sizes on a machine without a GPU.
set -u
cd "$(dirname "$0")/../.."
device=cuda minutes=10 log=gpu-day.log only=.
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=$2; shift 2 ;;
    --minutes) minutes=$2; shift 2 ;;
    --log) log=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;  # parts whose title matches, the first one always
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "day: unknown option $1 (try --help)"; exit 2 ;;
  esac
done
case $device in cuda | emulator) ;; *) echo "day: --device is cuda or emulator, not $device"; exit 2 ;; esac

build=${PERILUNE_LIBRARY_DIR:-build/release}
perilune=$build/perilune
[ -d lib ] && LD_LIBRARY_PATH=$PWD/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} && export LD_LIBRARY_PATH
if [ "$device" = cuda ]; then kernels=cuda shapes="1b 8b:8" compositions=150 invariance_model=scripts/models/tales
else kernels=plugin-emulator shapes=tiny compositions=3 invariance_model=tests/golden/llama-gqa; fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
verdicts=$scratch/verdicts
: >"$log"
: >"$verdicts"
started=$(date +%s)
failed=0

# part TITLE SECONDS COMMAND...: what it prints goes to the log. Status 77 is a skip with its reason.
part() {
  title=$1 limit=$2
  shift 2
  case $title in
    "the device"*) ;;
    *) echo "$title" | grep -E "$only" >/dev/null || return 0 ;;
  esac
  left=$((minutes * 60 - ($(date +%s) - started)))
  if [ $left -le 0 ]; then
    echo "not run   $title (the $minutes minutes are over)" >>"$verdicts"
    return 0
  fi
  [ "$limit" -le $left ] || limit=$left
  echo "== $title"
  printf '\n== %s\n%s\n' "$title" "$*" >>"$log"
  from=$(date +%s) status=0
  timeout "$limit" "$@" >"$scratch/output" 2>&1 || status=$?
  cat "$scratch/output" >>"$log"
  seconds=$(($(date +%s) - from))
  case $status in
    0) verdict=passed ;;
    77) verdict=skipped; title="$title: $(tail -1 "$scratch/output")" ;;
    124) verdict='too long' failed=1 ;;
    *) verdict=FAILED failed=1 ;;
  esac
  printf '%-9s %s (%s s)\n' "$verdict" "$title" "$seconds" >>"$verdicts"
  return 0
}

devices() {
  "$perilune" -e "local pl = require 'perilune' pl.zeros({ 1 }):to '$device'
    for _, d in ipairs(pl.devices()) do print(('%s: %s, %.1f GiB, %.1f free'):format(d.name, d.tier, d.memory / 2^30, d.free / 2^30)) end
    assert(pl.health().ok)"
}
golden() {  # every model's reference values, on the device
  for folder in tests/golden/*/; do
    [ -f "$folder/expected.json" ] || continue
    if [ "$device" = emulator ]; then case $folder in *llama-gqa/ | *bert-sequence/) ;; *) continue ;; esac; fi
    PERILUNE_DEVICE=$device "$perilune" compare --strict "$folder" || return 1
  done
}
spec() {
  PERILUNE_TEST_DEVICE=$device "$perilune" tests/lua/run_spec.lua "tests/lua/$1_spec.lua"
}
invariance() {
  PERILUNE_DEVICE=$device "$perilune" scripts/prove_invariance.lua "$invariance_model" --compositions $compositions
}
speed() {  # SHAPE[:LAYERS]
  "$perilune" tests/gpu/random_model.lua "$scratch/model" "${1%%:*}" $(case $1 in *:*) echo "${1##*:}" ;; esac) || return 1
  if [ "$device" = cuda ]; then prompts='512 2048 4096'; else prompts=8; fi
  for prompt in $prompts; do
    "$perilune" bench "$scratch/model" --device "$device" --prompt "$prompt" --new $((device_is_real ? 64 : 2)) --repeats $((device_is_real ? 3 : 1)) --threads 1 || return 1
  done
  rm -rf "$scratch/model"
}
checker() {  # one of compute-sanitizer's tools, with blocks of exact size
  command -v compute-sanitizer >/dev/null || { echo "no compute-sanitizer here"; return 77; }
  PERILUNE_CUDA_ALLOCATOR=exact PERILUNE_DEVICE=$device compute-sanitizer --tool "$1" --error-exitcode 1 \
    "$perilune" compare --strict tests/golden/llama-gqa
}
profile() {
  command -v nsys >/dev/null || { echo "no nsys here"; return 77; }
  nsys profile --stats=true -o "$scratch/profile" "$perilune" bench scripts/models/tales --device "$device" --repeats 1
}
device_is_real=0
[ "$device" = cuda ] && device_is_real=1

# Functions are called through this script, so that `timeout` can end them.
case ${PERILUNE_GPU_PART:-} in
  '') ;;
  *) eval "$PERILUNE_GPU_PART"; exit $? ;;
esac
in_part() {  # TITLE SECONDS FUNCTION [ARGUMENT]
  title=$1 limit=$2
  shift 2
  part "$title" "$limit" env PERILUNE_GPU_PART="$*" sh tests/gpu/day.sh --device "$device" --log /dev/null
}

in_part "the device opens and tells what it is" 60 devices
if [ $failed = 1 ]; then
  echo "day: no device \"$device\": nothing else was tried"
  cat "$log"
  exit 1
fi
names='attention attention_bits coded_linear conversion elementwise linear long_rows reduction rows'
[ "$device" = cuda ] || names=rows
for name in $names; do
  part "kernels: $name" 120 env PERILUNE_KERNELS=$kernels "$build/tests/tests_kernels" -# "[#${name}_test]"
done
in_part "golden models: reference values" 120 golden
in_part "models and tensors on the device against the CPU" 120 spec device
in_part "$compositions random batches change no bit" 120 invariance
for shape in $shapes; do in_part "speed: random Llama $shape" 120 speed "$shape"; done
for tool in memcheck racecheck synccheck initcheck; do in_part "compute-sanitizer $tool" 90 checker $tool; done
in_part "profile of a short run" 60 profile

{ echo; echo "== verdicts, $(date -u '+%Y-%m-%d %H:%M') UTC"; cat "$verdicts"; } | tee -a "$log"
echo "everything that was printed: $log"
exit $failed
