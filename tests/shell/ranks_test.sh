#!/bin/sh
# Several processes that compute models together under mpirun: the same bits as one, an end that names who died, and one
# sentence for everything that is missing.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
tests=$(dirname "$perilune")/tests
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
  echo "ranks_test: $1" >&2
  exit 1
}
# Status of a command whose output goes to $folder/output.
status_of() {
  status=0
  env "$@" >"$folder/output" 2>&1 || status=$?
  echo "$status"
}
says() { grep -q -e "$1" "$folder/output" || { cat "$folder/output"; fail "it does not say: $1"; }; }

# What is missing or cannot be.
[ "$(status_of PERILUNE_RANKS=4 "$perilune" -e 'print(1)')" = 2 ] || fail "four ranks without mpirun ran"
says 'perilune: PERILUNE_RANKS=4 needs as many processes: mpirun -n 4 perilune'
[ "$(status_of PERILUNE_RANKS=many "$perilune" -e 'print(1)')" = 2 ] || fail "PERILUNE_RANKS=many ran"
says 'PERILUNE_RANKS is "many", not 1, 2, 4, 8 or off'
mkdir "$folder/damaged"
: >"$folder/damaged/libmpi.so.40"
[ "$(status_of OMPI_COMM_WORLD_SIZE=2 LD_LIBRARY_PATH="$folder/damaged" "$perilune" -e 'print(1)')" = 1 ] ||
  fail "a damaged library was taken"
says 'several ranks need Open MPI 4 (libmpi.so.40), which does not load'
says 'openmpi-bin; PERILUNE_RANKS=off'
[ "$(status_of OMPI_COMM_WORLD_SIZE=2 PERILUNE_RANKS=off LD_LIBRARY_PATH="$folder/damaged" "$perilune" -e 'print(1)')" = 0 ] ||
  fail "PERILUNE_RANKS=off asked for the library"

if ! command -v mpirun >/dev/null; then
  echo "skipped: no mpirun"
  exit 77
fi
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Nothing but this machine's memory.
ranks() {  # number, command...
  number=$1
  shift
  timeout 120 mpirun --oversubscribe --mca btl self,vader --mca plm isolated -n "$number" "$@"
}

PERILUNE_RANKS=1 "$perilune" tests/shell/ranks_answers.lua >"$folder/one" 2>/dev/null
for number in 2 4; do
  ranks "$number" "$perilune" tests/shell/ranks_answers.lua >"$folder/some" 2>"$folder/output" ||
    { cat "$folder/output"; fail "$number ranks failed"; }
  says "^rank 0 of $number"
  cmp "$folder/one" "$folder/some" || { diff "$folder/one" "$folder/some"; fail "$number ranks answer otherwise"; }
done

# Where sums cross from a device to the others and back.
if [ -e "$(dirname "$perilune")/libperilune_emulator.so" ]; then
  PERILUNE_DEVICE=emulator PERILUNE_RANKS=1 "$perilune" tests/shell/ranks_answers.lua short >"$folder/one" 2>/dev/null
  PERILUNE_DEVICE=emulator ranks 2 "$perilune" tests/shell/ranks_answers.lua short >"$folder/some" 2>"$folder/output" ||
    { cat "$folder/output"; fail "2 ranks failed on the emulator"; }
  cmp "$folder/one" "$folder/some" || { diff "$folder/one" "$folder/some"; fail "2 ranks answer otherwise on the emulator"; }
fi

# A GPU a rank, with and without a library (NCCL) that sends from one to the other; the GPUs and the library are made ones.
if [ -e "$tests/fake_gpu/libperilune_cuda.so" ]; then
  export PERILUNE_PLUGINS="$tests/fake_gpu"
  on_gpus() {  # what it says of the first rank; environment...
    says_so=$1
    shift
    PERILUNE_DEVICE=cuda ranks 2 env "$@" "$perilune" tests/shell/ranks_answers.lua short >"$folder/some" 2>"$folder/output" ||
      { cat "$folder/output"; fail "2 ranks failed on GPUs, $*"; }
    cmp "$folder/one" "$folder/some" || { diff "$folder/one" "$folder/some"; fail "2 ranks answer otherwise on GPUs, $*"; }
    says "cuda:0 .*rank 0 of 2, $says_so"
  }
  PERILUNE_DEVICE=cuda PERILUNE_RANKS=1 "$perilune" tests/shell/ranks_answers.lua short >"$folder/one" 2>/dev/null
  mkdir "$folder/no_nccl"
  : >"$folder/no_nccl/libnccl.so.2"
  on_gpus 'host memory: libnccl.so.2 does not load: .*file too short (rank 0)' LD_LIBRARY_PATH="$folder/no_nccl"
  on_gpus 'NCCL 2.99.99' LD_LIBRARY_PATH="$tests/fake_nccl"
  on_gpus 'host memory: NCCL 2.99.99 on cuda:0: invalid usage' LD_LIBRARY_PATH="$tests/fake_nccl" FAKE_NCCL=refuse
  on_gpus 'host memory: PERILUNE_NCCL=off' LD_LIBRARY_PATH="$tests/fake_nccl" PERILUNE_NCCL=off
  unset PERILUNE_PLUGINS
fi

# A rank holds its part: of this model a good half of the weights, and half of the keys and values.
cat >"$folder/memory.lua" <<'END'
local memory = require("perilune").load("scripts/models/tales", { device = "cpu" }):memory()
print(memory.weights)
print(memory.cache_per_token)
END
PERILUNE_RANKS=1 "$perilune" "$folder/memory.lua" >"$folder/one"
ranks 2 "$perilune" "$folder/memory.lua" >"$folder/some"
echo "weights and keys of one rank: $(paste -s -d ' ' "$folder/one"); of the first of two: $(paste -s -d ' ' "$folder/some")"
[ $(($(sed -n 1p "$folder/some") * 10)) -lt $(($(sed -n 1p "$folder/one") * 6)) ] || fail "a rank of two holds more than 6/10 of the weights"
[ $(($(sed -n 2p "$folder/some") * 2)) = "$(sed -n 2p "$folder/one")" ] || fail "a rank of two does not hold half of the keys"

# A script's own exit status, and none of mpirun's words but about that.
status=0
ranks 2 "$perilune" tests/shell/ranks_answers.lua exit >"$folder/output" 2>&1 || status=$?
[ "$status" = 3 ] || { cat "$folder/output"; fail "os.exit(3) became $status"; }

status=0
ranks 3 "$perilune" -e 'print(1)' >"$folder/output" 2>&1 || status=$?
[ "$status" != 0 ] || fail "three ranks ran"
says '3 ranks: 1, 2, 4 or 8 can share a model'
status=0
PERILUNE_RANKS=4 ranks 2 "$perilune" -e 'print(1)' >"$folder/output" 2>&1 || status=$?
[ "$status" != 0 ] || fail "two processes were four ranks"
says '4 ranks were asked for, mpirun started 2'

# One that dies takes all with it. (mpirun itself waits a second more.) A busy machine may need more than one try.
alive() { grep -qs '^State:.[^Z]' "/proc/$1/status"; }
for try in 1 2 3; do
  rm -f "$folder"/pid.*
  ranks 2 sh -c 'echo $$ >"$1/pid.$OMPI_COMM_WORLD_RANK"; exec "$2" tests/shell/ranks_answers.lua kill "$1/pid.1"' - \
    "$folder" "$perilune" >"$folder/output" 2>&1 &
  job=$!
  waited=0
  while [ ! -s "$folder/pid.1.time" ] && [ "$waited" -lt 3000 ]; do sleep 0.02; waited=$((waited + 1)); done
  while alive "$(cat "$folder/pid.0")"; do sleep 0.01; done
  ended=$(date +%s%N)
  status=0
  wait "$job" || status=$?
  [ "$status" != 0 ] || { cat "$folder/output"; fail "they went on without rank 1"; }
  says 'perilune: rank 1 (process [0-9]*) has died\|rank 1 .*exited on signal 9'
  took=$(((ended - $(cat "$folder/pid.1.time")) / 1000000))
  [ "$took" -ge 1000 ] || break
done
echo "rank 1 dead: rank 0 ended after $took ms"
[ "$took" -lt 1000 ] || fail "rank 0 took $took ms to end"
