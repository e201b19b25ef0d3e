#!/bin/sh
# The README's script prints what the README says it prints.
set -eu
cd "$(dirname "$0")/../.."
perilune=${PERILUNE:-build/release/perilune}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sed -n '/^```lua$/,/^```$/p' README.md | sed '/^```/d' | sed '/^$/{N;/^\n$/D}' >"$folder/script.lua"
sed -n '/^prints$/,/^## /p' README.md | sed -n '/^```$/,/^```$/p' | sed '/^```$/d' >"$folder/expected"
[ -s "$folder/script.lua" ] && [ -s "$folder/expected" ] || { echo "readme_test: no script in README.md" >&2; exit 1; }
"$perilune" "$folder/script.lua" >"$folder/output"
diff "$folder/expected" "$folder/output" || { echo "readme_test: README.md says otherwise" >&2; exit 1; }

# Every file that the README names is there.
grep -oE '(scripts|stdlib|engine|kernels|bindings|tests|docs)/[A-Za-z0-9_./]*[A-Za-z0-9]\.(lua|h|cpp|sh|md)' README.md | sort -u |
  while IFS= read -r path; do
    [ -e "$path" ] || { echo "readme_test: README.md names $path, which is not there" >&2; exit 1; }
  done
echo "readme_test: all well"
