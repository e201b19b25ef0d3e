#!/bin/sh
# Builds everything and runs every test; ends with ctest's closing line.
# Usage: sh tests/run.sh [--preset NAME] [ARGUMENTS FOR CTEST...]
#   --preset NAME   release (the default), debug, asan or tsan
# For instance: sh tests/run.sh -R kernels    sh tests/run.sh -L lua    sh tests/run.sh -E long
# Tests that could not run, for a lack of data or of a processor feature, are listed at the end, and
# the files of which nearly nothing ran by name.
set -eu
cd "$(dirname "$0")/.."

preset=release
case ${1-} in
  -h | --help) sed -n '2,7s/^# //p' tests/run.sh; exit 0 ;;
  --preset)
    [ $# -ge 2 ] || { echo "tests/run.sh: --preset wants a name" >&2; exit 2; }
    preset=$2
    shift 2 ;;
esac

sh scripts/install-packages.sh
cmake --preset "$preset"
cmake --build --preset "$preset"

build=$PWD/build/$preset
PERILUNE_SKIP_LOG=$build/skipped.log
export PERILUNE_SKIP_LOG
: >"$PERILUNE_SKIP_LOG"

{
  status=0
  ctest --test-dir "$build" --output-on-failure --no-label-summary -j "$(nproc)" "$@" 2>&1 || status=$?
  echo $status >"$build/ctest.status"
} | {
  closing=
  while IFS= read -r line; do
    case $line in
      *"% tests passed, "*) closing=$line ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
  if [ -s "$PERILUNE_SKIP_LOG" ]; then
    printf '\nSkipped:\n'
    grep -v '^hollow: ' "$PERILUNE_SKIP_LOG" | sort | uniq -c | sed 's/^ *1 /  /; s/^ *\([0-9][0-9]*\) \(.*\)/  \2 (\1 times)/'
    if grep -q '^hollow: ' "$PERILUNE_SKIP_LOG"; then
      printf '\nNearly nothing ran of:\n'
      sed -n 's/^hollow: /  /p' "$PERILUNE_SKIP_LOG" | sort -u
    fi
  fi
  [ -z "$closing" ] || printf '\n%s\n' "$closing"
}
exit "$(cat "$build/ctest.status")"
