#!/bin/sh
# What the compiled CUDA kernels use, read from libperilune_cuda.so: registers, threads, the blocks
# that registers allow a multiprocessor, static shared memory, stack and local memory of each kernel
# on each architecture, printed as a table. Fails where a
# kernel keeps anything in local memory (spills, or arrays that did not fit into registers), has no
# declared block size, or needs more registers than a multiprocessor has for one block of that size.
# More blocks than one are __launch_bounds__'s second number: the compiler keeps to it, and would
# spill where it cannot; their shared memory is a static_assert beside it (shared_fits).
#   PERILUNE_CUDA_LIBRARY   the library
#   CUOBJDUMP               the toolkit's cuobjdump, where it is not found by itself
set -eu

library=${PERILUNE_CUDA_LIBRARY:-${PERILUNE_LIBRARY_DIR:-build/release}/libperilune_cuda.so}
[ -f "$library" ] || { echo "skipped: no $library"; exit 77; }

find_cuobjdump() {
  # The last: where scripts/install-packages.sh --dev puts it.
  for candidate in "${CUOBJDUMP:-}" cuobjdump /usr/local/cuda/bin/cuobjdump \
    "$(dirname "$0")"/../../build/tools/nvidia/*/bin/cuobjdump; do
    if [ -n "$candidate" ] && command -v "$candidate"; then return; fi
  done
  return 0  # nothing printed
}
cuobjdump=$(find_cuobjdump)
if [ -z "$cuobjdump" ]; then
  echo "skipped: no cuobjdump"
  [ -z "${PERILUNE_SKIP_LOG:-}" ] ||
    echo "cuda.resources: no cuobjdump (part of the CUDA toolkit)" >>"$PERILUNE_SKIP_LOG"
  exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for what in --dump-resource-usage -elf; do
  "$cuobjdump" $what "$library" >"$work/$what" 2>"$work/errors" || { cat "$work/errors"; exit 1; }
done

# Once a process or a step, and library functions with a rarely taken path in local memory (the
# reduction of large angles).
cold='rope_table'

awk '
  FNR == 1 { file += 1 }
  /^arch = / { arch = $3 }
  file == 1 && /^\.nv\.info\./ { kernel = substr($1, 10) }
  file == 1 && /^\.nv\.info$/ { kernel = "" }
  file == 1 && /EIATTR_MAX_THREADS/ { wanted = 1 }
  file == 1 && wanted && /Value:/ {
    threads[arch, kernel] = $2 " " $3 " " $4
    wanted = 0
  }
  file == 2 && $1 == "Function" { sub(/:$/, "", $2); name = $2 }
  file == 2 && /REG:/ {
    for (i = 1; i <= NF; ++i) { split($i, pair, ":"); use[pair[1]] = pair[2] }
    block = (arch, name) in threads ? threads[arch, name] : "-"
    source = "?"  # nvcc puts the file into the name of its anonymous namespace
    if (match(name, /_[a-z0-9_]+_cu_[0-9a-f]+/)) {
      source = substr(name, RSTART, RLENGTH)
      sub(/^_*[0-9a-f]+_[0-9]+_/, "", source)
      sub(/_cu_[0-9a-f]+$/, ".cu", source)
    }
    print arch, use["REG"], use["SHARED"], use["STACK"], use["LOCAL"], source, name, block
  }' "$work/-elf" "$work/--dump-resource-usage" | sort -k6,7 -k1,1 | c++filt >"$work/table"

kernels=$(wc -l <"$work/table")
[ "$kernels" -gt 0 ] || { echo "no kernels in $library"; exit 1; }

awk -v cold="$cold" '
  function hexadecimal(text, value, i) {
    value = 0
    for (i = 3; i <= length(text); ++i)
      value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
  }
  BEGIN { printf "%-6s %9s %7s %7s %7s %6s %6s  %s\n", "arch", "registers", "threads", "blocks", "shared", "stack", "local", "kernel" }
  {
    threads = 0
    if ($NF != "-") threads = hexadecimal($(NF - 2)) * hexadecimal($(NF - 1)) * hexadecimal($NF)
    name = $0
    sub(/^[^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ /, "", name)
    gsub(/\(anonymous namespace\)::|perilune::kernels::cuda::|perilune::kernels::|void /, "", name)
    sub(/\(.*$/, "", name)
    problem = ""
    # A multiprocessor has 65536 registers, given out to warps in units of 256.
    per_warp = int(($2 * 32 + 255) / 256) * 256
    warps = int((threads + 31) / 32)
    blocks = warps == 0 ? 0 : int(65536 / per_warp / warps)
    if (blocks * warps > 64) blocks = int(64 / warps)
    if (threads == 0) problem = "no __launch_bounds__"
    else if (blocks == 0) problem = "too many registers for its block"
    if (($4 > 0 || $5 > 0) && name !~ cold) problem = "uses local memory"
    printf "%-6s %9d %7d %7d %7d %6d %6d  %s%s\n", $1, $2, threads, blocks, $3, $4, $5, $6 ": " name, problem == "" ? "" : "   <-- " problem
    if (problem != "") failed = 1
  }
  END { exit failed }' "$work/table"
