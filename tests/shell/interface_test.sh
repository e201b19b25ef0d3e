#!/bin/sh
# The library's binary interface beside the one of tests/c/perilune.abi, as abidiff sees it: a function that is gone, a
# parameter or a field of another type is red. What is new is well, once it is in the file:
#   sh tests/shell/interface_test.sh --write
set -u
cd "$(dirname "$0")/../.." || exit 1
library=${PERILUNE_LIBRARY_DIR:-build/release}/tests/libinterface_described.so
kept=tests/c/perilune.abi
command -v abidiff >/dev/null 2>&1 || { echo "there is no abidiff here"; exit 77; }
[ -e "$library" ] || { echo "there is no $library: a build under a sanitizer, or from before abidiff was here"; exit 77; }

describe() {  # file
  abidw --exported-interfaces-only --drop-undefined-syms \
    --no-show-locs --no-corpus-path --no-comp-dir-path --no-elf-needed --no-parameter-names --type-id-style hash "$library" >"$1"
}
if [ "${1-}" = --write ]; then describe "$kept"; exit; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
describe "$work/now.abi" || { echo "abidw fails"; exit 1; }
functions=$(grep -c "<elf-symbol name='pl_" "$work/now.abi")
listed=$(grep -c . tests/c/symbols.txt)
[ "$functions" = "$listed" ] || { echo "interface: $functions functions, tests/c/symbols.txt has $listed"; exit 1; }
abidiff "$kept" "$work/now.abi" || { echo "interface: differs from $kept (see the head of $0)"; exit 1; }
echo "interface: $functions functions as in $kept"
