#!/bin/sh
# Builds the fuzz targets with clang's libFuzzer and sanitizers and runs each for a while.
# Usage: sh tests/fuzz/run.sh [SECONDS FOR EACH TARGET] [TARGET...]     (30 and all unless told)
#        sh tests/fuzz/run.sh --total SECONDS [TARGET...]     for everything, building included
# For instance: sh tests/fuzz/run.sh 60 json sentencepiece
# The corpus grows in build/fuzz/corpus. A finding is kept in build/fuzz and ends the run with 1.
set -eu
start=$(date +%s)
cd "$(dirname "$0")/../.."

total=
if [ "${1-}" = --total ]; then
  total=$2
  shift 2
else
  seconds=${1:-30}
  [ $# -eq 0 ] || shift
fi
if ! command -v clang++ >/dev/null; then
  echo "tests/fuzz/run.sh: skipped: clang++ is not installed"
  exit 77
fi
[ $# -gt 0 ] || set -- $(ls tests/fuzz/fuzz_*.cpp | sed 's|.*/fuzz_||; s|\.cpp$||')
for target in "$@"; do
  [ -f "tests/fuzz/fuzz_$target.cpp" ] || { echo "no target $target" >&2; exit 2; }
done

build=$PWD/build/fuzz
jobs=$(nproc)
mkdir -p "$build/objects"
flags="-std=c++20 -O1 -gline-tables-only -I. $(pkg-config --cflags luajit) -ffp-contract=off
       -fsanitize=address,undefined -fno-sanitize-recover=all"
if pkg-config --exists sndfile soxr kissfft-float zlib; then
  flags="$flags -DPERILUNE_SOUND $(pkg-config --cflags sndfile soxr kissfft-float zlib)"
  sound=$(pkg-config --libs sndfile soxr kissfft-float zlib)
fi
libraries="${sound-} -lutf8proc -lpcre2-8 -lpng -ljpeg -lpthread $(pkg-config --libs luajit)"
launcher=
if command -v ccache >/dev/null; then launcher=ccache; fi

# What targets are made of: sound, pictures, the text layer and what it stands on, grammars, and parts of quantized matrices.
# The linker takes what a target needs.
sources="engine/files/safetensors.cpp engine/files/sizes_text.cpp engine/files/tensor_file.cpp
         $(ls engine/weights/quantized/*.cpp | grep -v /files.cpp) $(ls kernels/*.cpp)
         $(ls engine/files/gguf/*.cpp | grep -vE '/(tensors|shards|writer).cpp')
         $(ls engine/base/*.cpp engine/images/*.cpp engine/sound/*.cpp engine/files/whisper/*.cpp)
         $(find engine/text engine/constrain -name '*.cpp' | sort)"

# compile NAME...: these sources, as many at once as there are processors.
compile() {
  export launcher flags build
  printf '%s\n' "$@" | xargs -P "$jobs" -n 1 sh -c \
    '$launcher clang++ $flags -fsanitize=fuzzer-no-link -c "$0" \
       -o "$build/objects/$(echo "$0" | tr / _).o"' ||
    { echo "tests/fuzz/run.sh: the targets cannot be built" >&2; exit 2; }
}

# Small real files to start from, where they are.
seed() {
  data=../shared/data
  case $1 in
    json) cp tests/golden/*/*config.json "$data"/corpora/json-test-suite/test_parsing/*.json "$2" ;;
    sentencepiece) cp tests/golden/*/*.model scripts/models/*/*.model "$2" ;;
    safetensors)
      for file in $(find tests/golden "$data/weights" -name '*.safetensors' -size -40k); do
        cp "$file" "$2/$(basename "$(dirname "$file")")-$(basename "$file")"; done ;;
    tokenizer_json) for folder in tests/golden/*/ scripts/models/*/; do
        cp "$folder/tokenizer.json" "$2/$(basename "$folder")"; done ;;
    gguf) for file in tests/golden/*/*.gguf tests/fuzz/seeds/gguf/*; do
        cp "$file" "$2"; done ;;
    png) cp tests/images/*.png "$2" ;;
    jpeg) cp tests/images/*.jpg "$2" ;;
    encode_decode) for i in 0 1 2 3 4 5 6 7 8 9; do
        printf "\\$i\\17Hello,  <s>World! caf\303\251 \347\214\253\n\n 12.5 [MASK] \360\237\230\200" \
          >"$2/seed$i"; done ;;
    quantized) for folder in ../shared/golden/quant/*/; do
        { sed -n '/"quantization_config": {/,/}/p' "$folder/config.json" | sed '1s/.*/{/'
          printf '\0'
          cat "$folder/model.safetensors"; } >"$2/$(basename "$folder")"; done
      printf '{"quant_method":"gptq","bits":4,"group_size":2}\0' >"$2/empty" ;;
    whisper) cp tests/fuzz/seeds/whisper/* "$2" ;;
    sound) cp "$data"/corpora/*.wav tests/fuzz/seeds/sound/* "$2" ;;
    template) cp tests/fuzz/seeds/template/* "$2" ;;
    grammar)
      printf '0(a|[b-d]{2,3})*\\d+$\0aab' >"$2/regex"
      printf '1root ::= "(" (root | [a-z]+)? ")" # x\0(a)' >"$2/gbnf"
      printf '3{"type":"object","properties":{"a":{"type":"array","items":{"$ref":"#"}}}}\0{"a":[' >"$2/schema" ;;
  esac 2>/dev/null || true
}

# run TARGET SECONDS
run() {
  mkdir -p "$build/corpus/$1"
  seed "$1" "$build/corpus/$1"
  dictionary=
  if [ -f "tests/fuzz/seeds/$1.dict" ]; then dictionary=-dict=tests/fuzz/seeds/$1.dict; fi
  status=0
  LSAN_OPTIONS=suppressions=$PWD/tests/leaks.txt:print_suppressions=0 \
    "$build/fuzz_$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=3072 -max_len=300000 $dictionary \
    -print_final_stats=1 -artifact_prefix="$build/$1-" "$build/corpus/$1" \
    >"$build/$1.log" 2>&1 || status=1
  echo "== $1, $2 s"
  grep -E 'stat::number_of_executed_units|SUMMARY|ERROR|broken:' "$build/$1.log" || true
  [ $status -eq 0 ] || { echo "$1: see $build/$1.log"; touch "$build/failed"; }
}

rm -f "$build/failed"
compile $sources $(printf 'tests/fuzz/fuzz_%s.cpp\n' "$@")
rm -f "$build/libfuzzed.a"
ar rcs "$build/libfuzzed.a" $(for source in $sources; do
  echo "$build/objects/$(echo "$source" | tr / _).o"; done)
for target in "$@"; do
  clang++ $flags -fsanitize=fuzzer "$build/objects/tests_fuzz_fuzz_$target.cpp.o" \
    "$build/libfuzzed.a" $libraries -o "$build/fuzz_$target"
done

if [ -n "$total" ]; then
  rounds=$((($# + jobs - 1) / jobs))
  seconds=$(((total - ($(date +%s) - start)) / rounds - 3))  # starting and ending takes some, too
  if [ "$seconds" -lt 5 ]; then
    echo "tests/fuzz/run.sh: building took $(($(date +%s) - start)) of $total s" >&2
    seconds=5
  fi
fi
running=0
for target in "$@"; do
  run "$target" "$seconds" &
  running=$((running + 1))
  if [ $running -eq "$jobs" ]; then
    wait
    running=0
  fi
done
wait
[ ! -f "$build/failed" ]
