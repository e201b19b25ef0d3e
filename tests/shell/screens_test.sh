#!/bin/sh
# Sessions as they are seen on a terminal, by an emulator of one: tests/repl/README.md.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-$PWD/build/release/perilune}
command -v python3 >/dev/null || { echo "screens_test: skipped, no python3"; exit 77; }
python=python3
# Debian's package belongs to Debian's own python3, whatever comes first in PATH.
if ! python3 -c 'import pyte' 2>/dev/null && /usr/bin/python3 -c 'import pyte' 2>/dev/null; then python=/usr/bin/python3; fi
$python tests/repl/screens.py "$perilune"
$python tests/repl/commands.py "$perilune"
$python scripts/make_repl_screens.py --check "$perilune"
