#!/bin/sh
# Longer than CI has time for: the tests that draw random cases, again and again with new seeds,
# optimised and under the sanitizers, until the time is up. Stops at the first failure.
# Usage: sh tests/campaign.sh [MINUTES] [FIRST SEED]     (60 and 1 unless told)
# Seed N alone: PERILUNE_SEED=N sh tests/run.sh --preset asan
set -eu
cd "$(dirname "$0")/.."

case ${1-} in -h | --help) sed -n '2,5s/^# //p' tests/campaign.sh; exit 0 ;; esac
minutes=${1:-60}
seed=${2:-1}
until=$(($(date +%s) + minutes * 60))

sh scripts/install-packages.sh
for preset in release asan tsan; do
  cmake --preset $preset >/dev/null
  cmake --build --preset $preset
done

if [ -f tests/fuzz/run.sh ]; then
  echo "== fuzz targets"
  status=0
  sh tests/fuzz/run.sh 60 || status=$?
  case $status in 0 | 77) ;; *) echo "campaign: a fuzz target found something"; exit 1 ;; esac
fi

rounds=0
while [ "$(date +%s)" -lt "$until" ]; do
  for preset in release asan; do
    echo "== seed $seed, $preset"
    PERILUNE_SEED=$seed ctest --test-dir build/$preset -L 'sanitize|campaign' --output-on-failure \
      --no-label-summary -j "$(nproc)" -Q -O "build/$preset/campaign.log" ||
      { cat "build/$preset/campaign.log"; echo "campaign: failed with seed $seed, $preset"; exit 1; }
  done
  rounds=$((rounds + 1))
  seed=$((seed + 1))
done
echo "== every family on the emulator"
PERILUNE=$PWD/build/release/perilune sh tests/shell/emulator_test.sh tests/golden/*/ ||
  { echo "campaign: the emulator found something"; exit 1; }
echo "== threads"
ctest --test-dir build/tsan -L 'kernels|engine' --output-on-failure --no-label-summary -Q ||
  { echo "campaign: ThreadSanitizer found something; see ctest --preset tsan"; exit 1; }
echo "campaign: $rounds rounds, no failure"
