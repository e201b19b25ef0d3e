#!/bin/sh
# `perilune compare` can fail: one number changed in a copy of the reference values is seen.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
  echo "compare_test: $1" >&2
  exit 1
}
status_of() {
  status=0
  "$perilune" compare "$@" >"$folder/output" 2>&1 || status=$?
  echo "$status"
}

for path in tests/golden/*/; do
  model=$(basename "$path")
  [ "$(status_of "tests/golden/$model")" = 0 ] || { cat "$folder/output"; fail "$model is off"; }
  cp -r "tests/golden/$model" "$folder/$model"
  # The last f32 of the file: some element of the last such tensor. 0x7e makes it about 1e37.
  "$perilune" -e 'local f, size, last = io.open(arg[1], "r+b"), 0, 0
    local bytes = f:read(8)
    for i = 8, 1, -1 do size = size * 256 + bytes:byte(i) end
    for _, one in pairs(require("perilune").json.decode(f:read(size))) do
      if one.dtype == "F32" then last = math.max(last, one.data_offsets[2]) end
    end
    f:seek("set", 8 + size + last - 1) f:write("\126") f:close()' "$folder/$model/expected.safetensors"
  [ "$(status_of "$folder/$model")" = 1 ] || { cat "$folder/output"; fail "a changed number of $model was not seen"; }
  grep -q OFF "$folder/output" || fail "no line says OFF"
done

[ "$(status_of scripts/models/*)" = 0 ] || { cat "$folder/output"; fail "a demo model is off"; }
grep -q '4 of 4' "$folder/output" || fail "it does not say what ran"
[ "$(status_of tests/golden/llama-gqa --tolerance 1e-12)" = 1 ] || fail "a tolerance of 1e-12 was kept"
cp -r tests/golden/llama-gqa "$folder/unheard"
sed -i 's/"model_type": "llama"/"model_type": "unheard"/; s/LlamaForCausalLM/UnheardModel/' "$folder/unheard/config.json"
[ "$(status_of "$folder/unheard")" = 0 ] || { cat "$folder/output"; fail "what cannot run is a skip"; }
[ "$(status_of "$folder/unheard" --strict)" = 1 ] || fail "--strict let a skip pass"
[ "$(status_of tests)" = 1 ] || fail "a folder without reference values passed"
[ "$(status_of)" = 2 ] || fail "no path is wrong usage"
[ "$(status_of --tolerence 1)" = 2 ] || fail "an unknown option is wrong usage"
grep -q tolerance "$folder/output" || fail "the nearest option is not named"
echo "compare_test: all well"
