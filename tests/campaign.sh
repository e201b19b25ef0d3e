#!/bin/sh
# Longer than CI has time for. Stops at the first failure and says how to see it again.
# Usage: sh tests/campaign.sh [MINUTES] [FIRST SEED]     (60 and 1 unless told)
#   once:        every fuzz target, a minute each
#                the CUDA kernels in the emulator's three orders of threads
#                every family of tests/golden on the emulator, in the three orders
#                every device allocation refused in turn, of every model of the table
#                every allocation failed in turn, of three models
#                kernels and engine under ThreadSanitizer
#                10,000 compositions, 500 guessed prompts, 100,000 sequences of caches
#                the C interface: 1,000 times opened and closed, a million requests, 10,000 cancels, PERILUNE_API_CALLS
#                (10 million) random calls of two threads under ASan and TSan together, a session under valgrind, a rock built by luarocks
#                10,000 random sessions at a terminal under ASan
#   again and again until the time is up, with a new seed each round:
#                the tests that draw random cases, optimised and under ASan and UBSan
#                300 families that misuse a pass
#                two minutes of engines under pressure: models, kinds and policies in too little memory
# Seed N alone: PERILUNE_SEED=N sh tests/run.sh --preset asan
# The closing lines say how much ran.
set -eu
cd "$(dirname "$0")/.."

case ${1-} in -h | --help) sed -n '2,20s/^# //p' tests/campaign.sh; exit 0 ;; esac
minutes=${1:-60}
calls=${PERILUNE_API_CALLS:-10000000}
seed=${2:-1}
case $minutes$seed in *[!0-9]*) echo "campaign: not a number: $minutes $seed (see --help)" >&2; exit 2 ;; esac
start=$(date +%s)
until=$((start + minutes * 60))

sh scripts/install-packages.sh
for preset in release asan tsan; do
  cmake --preset $preset >/dev/null
  cmake --build --preset $preset
done
log=$PWD/build/campaign.log
PERILUNE=$PWD/build/release/perilune
export PERILUNE

part() {  # name; the time so far
  printf '== %s (%d min)\n' "$1" $((($(date +%s) - start) / 60))
}
fail() {
  echo "campaign: $1"
  exit 1
}
tests() {  # preset, arguments of ctest...
  preset=$1
  shift
  ctest --test-dir "build/$preset" --output-on-failure --no-label-summary -j "$(nproc)" -Q -O "$log" "$@" ||
    { cat "$log"; return 1; }
}

part "fuzz targets"
status=0
sh tests/fuzz/run.sh 60 || status=$?
case $status in 0 | 77) ;; *) fail "a fuzz target found something" ;; esac

for order in forward reverse shuffled; do
  part "CUDA kernels in the emulator, $order"
  PERILUNE_EMULATOR_ORDER=$order tests release -L emulator || fail "the emulator found something, PERILUNE_EMULATOR_ORDER=$order"
done
part "every family on the emulator"
sh tests/shell/emulator_test.sh tests/golden/*/ || fail "the emulator found something"
PERILUNE_COMPOSITIONS=1000 tests release -R '^lua\.device$' || fail "a batch changes answers there, PERILUNE_COMPOSITIONS=1000 ctest -R lua.device"

part "device allocations refused"
PERILUNE_REFUSALS=all tests release -R 'lua\.refusals' || fail "a refused allocation: PERILUNE_REFUSALS=all ctest -R lua.refusals"

part "allocations that fail"
for model in "gpt2-plain 1" "bert-base 1" "llama-gqa 1"; do
  # shellcheck disable=SC2086  # two words
  LD_PRELOAD=$PWD/build/release/libfailing_allocations.so "$PERILUNE" \
    tests/faults/allocation_failures.lua tests/golden/$model >"$log" ||
    { cat "$log"; fail "an allocation that fails: tests/faults/allocation_failures.lua tests/golden/$model"; }
done

part "the library opened and closed 1,000 times, a million requests, 10,000 cancels"
PERILUNE_RELOADS=1000 PERILUNE_LIBRARY=$PWD/build/release/libperilune.so build/release/tests/c_reload || fail "tests/c/reload.c"
PERILUNE_REQUESTS=1000000 build/release/tests/c_soak || fail "tests/c/soak.c"
PERILUNE_MODS=all build/release/tests/c_mods || fail "tests/c/mods.c"
PERILUNE_CANCELS=10000 PERILUNE_CALLS=20000 build/release/tests/c_threads || fail "tests/c/threads.c"

if command -v luarocks >/dev/null 2>&1 && command -v luajit >/dev/null 2>&1; then
  part "a rock"
  rocks=$(mktemp -d)
  luarocks --lua-version=5.1 make --tree "$rocks" >"$log" 2>&1 || { cat "$log"; fail "luarocks make"; }
  LUA_CPATH="$rocks/lib/lua/5.1/?.so" luajit -e 'assert(require("perilune").version)' || fail "the rock does not load"
  find "$rocks" -path '*/types/functions.lua' | grep -q . || fail "the rock has no types"
  rm -rf "$rocks"
fi

part "$calls random calls of two threads under each sanitizer"
for preset in asan tsan; do
  PERILUNE_CALLS=$((calls / 2)) ASAN_OPTIONS=detect_leaks=0 build/$preset/tests/c_threads || fail "tests/c/threads.c, $preset"
done

if command -v valgrind >/dev/null 2>&1; then
  part "a session under valgrind"
  PERILUNE_CPU=v2 PERILUNE_REQUESTS=1000 valgrind -q --error-exitcode=1 --leak-check=full --errors-for-leak-kinds=definite \
    build/release/tests/c_soak || fail "valgrind found something"
fi

part "10,000 random sessions at a terminal"
PERILUNE_SESSIONS=10000 build/asan/tests/tests_repl "random sessions end well" || fail "a session that does not end well"

part "threads"
tests tsan -L 'kernels|engine' || fail "ThreadSanitizer found something; see ctest --preset tsan"

part "10,000 compositions: drafts, masks, adapters, little memory, each type of keys and values"
sh tests/compositions.sh 10000 "$seed" >"$log" 2>&1 || { cat "$log"; fail "an answer that its batch changed: sh tests/compositions.sh 10000 $seed"; }
tail -n 1 "$log"

part "500 guessed prompts, 600 that share, 100,000 sequences of caches"
PERILUNE_DRAFTED=500 "$PERILUNE" tests/lua/run_spec.lua tests/lua/drafts_spec.lua >"$log" || { cat "$log"; fail "guesses change an answer"; }
PERILUNE_REUSED=600 "$PERILUNE" tests/lua/run_spec.lua tests/lua/reuse_spec.lua >"$log" || { cat "$log"; fail "sharing changes an answer"; }
PERILUNE_CACHE_SEQUENCES=100000 tests release -R '^engine\.shared_pages$' || fail "a sequence of a cache"

rounds=0
runs=0
while [ "$(date +%s)" -lt "$until" ]; do
  for preset in release asan; do
    part "seed $seed, $preset"
    PERILUNE_SEED=$seed tests $preset -L 'sanitize|campaign' || fail "failed with seed $seed, $preset"
  done
  part "seed $seed, families that misuse a pass"
  PERILUNE_SEED=$seed PERILUNE_FAMILIES=300 "$PERILUNE" tests/lua/run_spec.lua tests/lua/faults_families_spec.lua >"$log" ||
    { cat "$log"; fail "a family that misuses a pass, PERILUNE_SEED=$seed"; }
  part "seed $seed, engines under pressure"
  PERILUNE_SEED=$seed PERILUNE_PRESSURE_SECONDS=120 "$PERILUNE" tests/lua/run_spec.lua tests/lua/pressure_spec.lua >"$log" ||
    { cat "$log"; fail "an engine under pressure, PERILUNE_SEED=$seed"; }
  runs=$((runs + $(sed -n 's/^ *\([0-9][0-9]*\) engines.*/\1/p' "$log" | head -n 1)))
  rounds=$((rounds + 1))
  seed=$((seed + 1))
done
echo "campaign: $rounds rounds, $runs engines under pressure, $((($(date +%s) - start) / 60)) minutes, no failure"
