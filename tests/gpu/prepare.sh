#!/bin/sh
# Packs what a machine with a GPU and nothing else needs for tests/gpu/day.sh: the program, the
# CUDA plug-in, the kernel tests, the libraries they use, golden models and specs. There it needs a
# driver, glibc 2.34 and a shell.
#   sh tests/gpu/prepare.sh [FILE.tar.gz]          default: build/perilune-gpu.tar.gz
set -eu
cd "$(dirname "$0")/../.."
case "${1:-}" in -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
file=${1:-build/perilune-gpu.tar.gz}
build=${PERILUNE_LIBRARY_DIR:-build/release}

if [ -z "${PERILUNE_GPU_BUILT:-}" ]; then  # set: what is there is packed
  cmake --preset release
  cmake --build --preset release --target perilune_with_devices perilune_emulator tests_kernels
fi
[ -f "$build/libperilune_cuda.so" ] || echo "prepare: no libperilune_cuda.so (no nvcc here): the day can only be tried on the emulator"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/perilune-gpu
mkdir -p "$root/build/release/tests" "$root/lib" "$root/tests"
for each in perilune libperilune_cuda.so libperilune_emulator.so tests/tests_kernels; do
  [ -f "$build/$each" ] || continue
  cp "$build/$each" "$root/build/release/$each"
  strip --strip-debug "$root/build/release/$each"
done
cp -r tests/golden tests/lua tests/gpu "$root/tests/"
cp -r scripts "$root/"

# Everything but the C library itself, which the machine has.
for each in "$root"/build/release/perilune "$root"/build/release/tests/tests_kernels; do ldd "$each"; done |
  awk '$2 == "=>" && $3 ~ /^\// && $1 !~ /^(libc|libm|libdl|libpthread|librt|ld-linux.*)\.so/ { print $3 }' |
  sort -u | while read -r library; do cp -L "$library" "$root/lib/"; done

# The newest C library that any of them asks for.
newest=$(find "$root" -type f \( -name '*.so*' -o -name perilune -o -name tests_kernels \) -exec objdump -T {} + 2>/dev/null |
  grep -oE 'GLIBC_2\.[0-9]+' | sort -t. -k2 -n | tail -1)
case $newest in
  GLIBC_2.[0-9] | GLIBC_2.[12][0-9] | GLIBC_2.3[0-4]) ;;
  *) echo "prepare: built for $newest: a machine with glibc 2.34 cannot run this" ;;
esac

mkdir -p "$(dirname "$file")"
tar -czf "$file" -C "$work" perilune-gpu
bytes=$(wc -c <"$file")
echo "prepare: $file, $((bytes / 1000000)) MB, for $newest or newer"
[ "$bytes" -lt 60000000 ] || { echo "prepare: over 60 MB"; exit 1; }
echo "There: tar -xzf $(basename "$file") && sh perilune-gpu/tests/gpu/day.sh"
