#!/bin/sh
# Runs a test that may take so many seconds of processor time, however busy the machine is.
# Usage: sh tests/limited.sh SECONDS COMMAND...
set -eu
ulimit -t "$1"
shift
exec "$@"
