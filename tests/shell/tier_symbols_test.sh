#!/bin/sh
# A file compiled for one instruction set must not define code that other files share (an inline or
# template function of the standard library, say): the linker keeps one copy of such a function, and
# if it were the AVX-512 one, a machine without AVX-512 would die in it. So every weak function in
# kernels/cpu/tier_*.cpp has the tier's own namespace in its name.
set -eu

archive=$PERILUNE_LIBRARY_DIR/libperilune_kernels.a
command -v nm >/dev/null || { echo "skipped: no nm"; exit 77; }

shared=$(nm --demangle --defined-only "$archive" | awk '
  /^[^ ]*\.o:$/ { file = $1; tier = ""; if (match(file, /tier_[a-z0-9]+/)) tier = substr(file, RSTART + 5, RLENGTH - 5); next }
  tier != "" && $2 ~ /^[Wu]$/ {
    name = $0; sub(/^[^ ]* [^ ]* /, "", name)
    if (index(name, "perilune::kernels::" tier "::") == 0) print file " " name
  }')

if [ -n "$shared" ]; then
  echo "functions that all builds would share, compiled for one instruction set:"
  echo "$shared"
  exit 1
fi
nm "$archive" 2>/dev/null | grep -q '^tier_[a-z0-9]*.*\.o:$' || { echo "skipped: no tier files"; exit 77; }
