#!/bin/sh
# The day on a GPU, tried on the emulator: it finds what is there, counts what fails, ends with
# verdicts, and a device that is not there ends it in one sentence.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

status=0
sh tests/gpu/day.sh --device cuda --log "$work/none" >"$work/output" 2>&1 || status=$?
if grep "no device \"cuda\"" "$work/output" >/dev/null; then
  [ $status = 1 ] || { echo "gpu_day_test: no GPU, and the day ends with $status"; exit 1; }
  grep "is not here: " "$work/output" >/dev/null || { cat "$work/output"; echo "gpu_day_test: nothing says why"; exit 1; }
else
  echo "skipped: this machine has a GPU"
  exit 77
fi

# With no time left nothing is run, and that is told.
sh tests/gpu/day.sh --device emulator --minutes 0 --log "$work/log" >"$work/output" 2>&1 || true
grep "not run   golden models" "$work/output" >/dev/null ||
  { cat "$work/output"; echo "gpu_day_test: parts without time are not told"; exit 1; }

# A part that fails is counted; the others run all the same.
mkdir -p "$work/bin"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/compute-sanitizer"
chmod +x "$work/bin/compute-sanitizer"
status=0
PATH=$work/bin:$PATH sh tests/gpu/day.sh --device emulator --only 'devices|kernels: rows|speed|memcheck' --log "$work/log" >"$work/output" 2>&1 || status=$?
for line in "passed    the device opens" "passed    kernels: rows" "passed    speed: random Llama tiny" "FAILED    compute-sanitizer memcheck"; do
  grep "$line" "$work/output" >/dev/null || { cat "$work/output" "$work/log"; echo "gpu_day_test: no \"$line\""; exit 1; }
done
[ $status = 1 ] || { echo "gpu_day_test: a failed part, and the day ends with $status"; exit 1; }
