#!/bin/sh
# A GPU that is asked for and cannot be had, with the plug-in as it is shipped: one sentence each, and
# the processor without being asked. The driver is one that exists for tests only (tests/cuda/fake).
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
libraries=${PERILUNE_LIBRARY_DIR:-build/release}
unset PERILUNE_PLUGINS CUDA_VISIBLE_DEVICES
[ -f "$libraries/libperilune_cuda.so" ] || { echo "skipped: no libperilune_cuda.so (no nvcc here)"; exit 77; }
output=$(mktemp)
trap 'rm -f "$output"' EXIT
model=tests/golden/llama-gqa

loaded() {  # device, environment...
  device=$1
  shift
  env LD_LIBRARY_PATH="$libraries/tests/fake_driver" "$@" "$perilune" -e "
    local pl = require 'perilune'
    local model, problem = pl.try(pl.load, '$model', { device = '$device' })
    print(model and model.device or problem)" >"$output" 2>&1 || true
}
expect() {  # what it is about, the sentence
  if [ "$(wc -l <"$output")" -ne 1 ] || ! grep -F -e "$2" "$output" >/dev/null; then
    cat "$output"
    echo "driver_test: $1: not the one sentence \"$2\""
    exit 1
  fi
}

loaded cuda
expect "no driver" 'device: "cuda:0" is not here: no NVIDIA driver (libcuda.so.1) was found; '
loaded cuda FAKE_DRIVER_VERSION=11040
expect "a driver too old" 'device: "cuda:0" is not here: the NVIDIA driver is for CUDA 11.4, and one for CUDA '
loaded cuda FAKE_DRIVER_VERSION=99000 FAKE_DRIVER_INIT=100
expect "a driver without a GPU" 'device: "cuda:0" is not here: the NVIDIA driver shows no GPU; '
loaded cuda FAKE_DRIVER_VERSION=99000 FAKE_DRIVER_INIT=100 CUDA_VISIBLE_DEVICES=7
expect "a GPU that is hidden" 'the NVIDIA driver shows no GPU with CUDA_VISIBLE_DEVICES="7"; '
for version in 0 11040; do
  loaded auto FAKE_DRIVER_VERSION=$version
  expect "auto with driver $version" cpu
done
