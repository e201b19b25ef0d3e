#!/bin/sh
# Builds the fuzz targets with clang's libFuzzer and sanitizers and runs each for a while.
# Usage: sh tests/fuzz/run.sh [SECONDS FOR EACH TARGET] [TARGET...]
# For instance: sh tests/fuzz/run.sh 60 json sentencepiece
# The corpus grows in build/fuzz/corpus. A finding is kept in build/fuzz and ends the run with 1.
set -eu
cd "$(dirname "$0")/../.."

seconds=${1:-30}
[ $# -eq 0 ] || shift
if ! command -v clang++ >/dev/null; then
  echo "tests/fuzz/run.sh: skipped: clang++ is not installed"
  exit 77
fi
[ $# -gt 0 ] || set -- $(ls tests/fuzz/fuzz_*.cpp | sed 's|.*/fuzz_||; s|\.cpp$||')

build=$PWD/build/fuzz
mkdir -p "$build"
flags="-std=c++20 -O1 -g -I. -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all"
launcher=
if command -v ccache >/dev/null; then launcher=ccache; fi

# What a target is made of: its own sources, one a line after "// sources:", or the text layer's.
common="error file json json_reader json_writer proto_wire stream_decoder"
text="byte_trie unigram sentencepiece_charsmap sentencepiece_file sentencepiece_normalizer tokenizer tokenizer_added tokenizer_config
      tokenizer_sentencepiece tokenizer_sentencepiece_decoder
      tokenizer_sentencepiece_encode"

sources_of() {
  named=$(sed -n 's|^// sources: *||p' "tests/fuzz/fuzz_$1.cpp")
  case $1 in
    json) echo "$common" ;;
    sentencepiece) echo "$common $text" ;;
    safetensors) echo "$common safetensors shape" ;;
    *) echo "$common $named" ;;
  esac
}

# Small real files to start from, where they are.
seed() {
  case $1 in
    json) cp tests/golden/*/*config.json "$2" 2>/dev/null || true
          cp ../shared/data/corpora/json-test-suite/test_parsing/*.json "$2" 2>/dev/null || true ;;
    sentencepiece) cp tests/golden/*/*.model scripts/models/*/*.model "$2" 2>/dev/null || true ;;
    safetensors) for folder in tests/golden/*/; do
          cp "$folder/model.safetensors" "$2/$(basename "$folder")" 2>/dev/null || true; done ;;
  esac
}

status=0
for target in "$@"; do
  [ -f "tests/fuzz/fuzz_$target.cpp" ] || { echo "no target $target" >&2; exit 2; }
  objects=
  for source in $(sources_of "$target"); do
    object=$build/$(basename "$source").o
    path=engine/$source.cpp
    [ -f "$path" ] || path=engine/text/$source.cpp
    $launcher clang++ $flags -fsanitize=fuzzer-no-link -c "$path" -o "$object"
    objects="$objects $object"
  done
  $launcher clang++ $flags -fsanitize=fuzzer-no-link -c "tests/fuzz/fuzz_$target.cpp" \
    -o "$build/fuzz_$target.o"
  clang++ $flags -fsanitize=fuzzer "$build/fuzz_$target.o" $objects -lsentencepiece -lpthread \
    -o "$build/fuzz_$target"
  mkdir -p "$build/corpus/$target"
  seed "$target" "$build/corpus/$target"
  echo "== $target, $seconds s"
  "$build/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=300000 \
    -print_final_stats=1 -artifact_prefix="$build/" "$build/corpus/$target" \
    >"$build/$target.log" 2>&1 || status=1
  grep -E 'stat::number_of_executed_units|SUMMARY|ERROR' "$build/$target.log" || true
done
exit $status
