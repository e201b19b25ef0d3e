#!/bin/sh
# The program from outside: scripts and their arguments, -e, verbs, exit statuses, what goes to
# standard output and what to standard error.
set -u
program=${PERILUNE:?set PERILUNE to the program}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
  echo "FAILED: $1"
  sed 's/^/  out: /' "$work/out"
  sed 's/^/  err: /' "$work/err"
  failures=$((failures + 1))
}

# run NAME STATUS ARGS...: runs the program, checks its exit status; `given` feeds standard input.
given=
run() {
  name=$1 wanted=$2
  shift 2
  printf '%s' "$given" | "$program" "$@" >"$work/out" 2>"$work/err"
  status=$?
  [ "$status" -eq "$wanted" ] || fail "$name: exit status $status, expected $wanted"
}
out() { grep -qF -- "$1" "$work/out" || fail "$name: standard output lacks: $1"; }
err() { grep -qF -- "$1" "$work/err" || fail "$name: standard error lacks: $1"; }
no_out() { [ ! -s "$work/out" ] || fail "$name: standard output is not empty"; }
no_err() { [ ! -s "$work/err" ] || fail "$name: standard error is not empty"; }

cat >"$work/arguments.lua" <<'EOF'
print(select("#", ...), arg[0], arg[1], arg[2], #arg, ...)
EOF
run "a script gets its arguments" 0 "$work/arguments.lua" one "two words"
out "$work/arguments.lua	one	two words	2	one	two words"
no_err
run "arg holds what lua's does" 0 "$work/arguments.lua" one two
out "$work/arguments.lua	one	two	2"
run "a script without arguments" 0 "$work/arguments.lua"
out "0"

run "-e" 0 -e 'print(1 + 1, ...)' a b
out "2	a	b"
run "-e without a line" 2 -e
err "-e needs a line of Lua"
no_out

given='print("from stdin", ...)'
run "- reads the script from standard input" 0 - x
out "from stdin	x"
given=

cat >"$work/plain" <<'EOF'
print "no ending"
EOF
run "a file without .lua is a script" 0 "$work/plain"
out "no ending"

run "--licenses" 0 --licenses
out "LuaJIT"
out "Permission is hereby granted"
no_err

cat >"$work/globals.lua" <<'EOF'
counter = 1
local function add() counter = counter + 1; return counter end
print("counts", add(), arg[1], ...)
local function forgets() forgotten = 1 end
print(pcall(forgets))
print(countr)
EOF
run "globals are free" 0 "$work/globals.lua" a
out "true"
run "--strict" 1 --strict "$work/globals.lua" a
out "counts	2	a	a"
out "globals.lua:4: forgotten is not declared"
err "globals.lua:6: countr is not defined; did you mean counter?"
run "--strict -e" 0 --strict -e 'local pl = require "perilune"; print(pl.ones({ 2 }):sum(), rawget(_G, "x"))'
out "2	nil"

cat >"$work/fails.lua" <<'EOF'
local function inner() error "it broke" end
local function outer() inner() end
outer()
EOF
run "an error" 1 "$work/fails.lua"
err "perilune: $work/fails.lua:1: it broke"
err "fails.lua:2: in function"
no_out
grep -qF '[C]' "$work/err" && fail "an error: frames of C functions are shown"

cat >"$work/engine_error.lua" <<'EOF'
local pl = require "perilune"
local t = pl.zeros({ 2 }, { axes = { "token" } })
t:softmax "tokn"
EOF
run "an error of the engine" 1 "$work/engine_error.lua"
err "softmax:"
err "engine_error.lua:3"

run "a syntax error" 1 -e 'local = 1'
err "perilune: "
run "an error that is a table" 1 -e 'error({})'
err "(error of type table)"
run "a script that is not there" 1 "$work/missing.lua"
err "missing.lua"

run "an unknown verb" 2 chekc
err 'did you mean "check"?'
err "verbs: "
no_out
run "an unknown option of a verb" 2 check --prob x
err "did you mean --probe?"
err "usage: perilune check"

run "--version" 0 --version
out "perilune "
out "LuaJIT"
out "processor "
run "--help" 0 --help
out "perilune FILE.lua ARGS"
out "compare"
run "--help VERB" 0 --help run
out "--max-new-tokens"

run "os.exit" 7 -e 'os.exit(7)'

run "warnings go to standard error" 0 -e '
  local pl = require "perilune"
  local m = pl.load "tests/golden/llama-gqa"
  io.write "done\n"
  require("perilune.core").warn("odd thing", "somewhere")'
err "perilune: warning: odd thing (somewhere)"
out "done"
run "a script may take the warnings" 0 -e '
  local pl = require "perilune"
  pl.on_warning(function(text) print("mine: " .. text) end)
  require("perilune.core").warn("odd thing", "somewhere")'
out "mine: odd thing"
no_err

name="a pipe that closes early"
"$program" -e 'for i = 1, 1e5 do print(i) end' 2>"$work/err" | head -n 1 >"$work/out"
out "1"
no_err

if [ -w /dev/full ]; then
  name="a full disk"
  "$program" -e 'print "x"' >/dev/full 2>"$work/err"
  [ $? -eq 1 ] || fail "$name: exit status is not 1"
  : >"$work/out"
  err "standard output could not be written"
fi

name="the library is found from any folder"
(cd "$work" && "$program" -e 'print(require("perilune").clock() > 0)') >"$work/out" 2>"$work/err"
out "true"

# Ctrl-C ends a script that loops, with the status that shells give it.
name="Ctrl-C in a script"
"$program" -e 'jit.off() io.write("started\n") io.flush() while true do end' >"$work/out" 2>"$work/err" &
child=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  grep -q started "$work/out" && break
  sleep 0.5
done
kill -INT $child
wait $child
status=$?
# A shell without job control starts background programs with SIGINT ignored; the program listens all the same.
[ $status -eq 130 ] || fail "$name: exit status $status, expected 130"
[ "$(cat "$work/err")" = interrupted ] || fail "$name: it says more than that"

# interrupted NAME ARGS...: Ctrl-C while the program works, which takes long enough to be met at it.
interrupted() {
  name=$1
  shift
  "$program" "$@" >"$work/out" 2>"$work/err" &
  child=$!
  sleep 1
  kill -INT $child
  wait $child
  status=$?
  [ $status -eq 130 ] || fail "$name: exit status $status, expected 130"
  [ "$(tail -n 1 "$work/err")" = interrupted ] || fail "$name: it says something else"
  grep -q "stdlib/\|error in error" "$work/err" && fail "$name: it shows what is inside"
}
interrupted "Ctrl-C in bench" bench scripts/models/tales --repeats 100000 --threads 1
interrupted "Ctrl-C in lengths" -e '
  local lengths = require "perilune.commands.lengths"
  local file = os.tmpname()
  local out = io.open(file, "w")
  for _ = 1, 3e5 do out:write(("a long line of words "):rep(30), "\n") end
  out:close()
  os.exit(require("perilune.commands").run("lengths", { file, "--tokenizer", "scripts/models/tales" }))'
for verb in check compare; do
  interrupted "Ctrl-C in $verb" -e '
    jit.off()
    local verb = "'$verb'"
    local path = verb == "check" and "scripts/models/tales" or "tests/golden/gpt2-plain"
    while true do assert(require("perilune.commands").run(verb, { path }) == 0) end'
done
interrupted "Ctrl-C in forward" -e '
  jit.off()
  local m = require("perilune").load("scripts/models/tales", { threads = 1 })
  while true do m:forward(("a word and more "):rep(40)) end'
interrupted "Ctrl-C in a stream" -e '
  jit.off()
  local m = require("perilune").load("scripts/models/tales", { threads = 1 })
  while true do for _ in m:stream("Once", { max_new_tokens = 200 }) do end end'

# A session through a pipe: no prompts, results printed, an error keeps it and is told by the status.
given='1 + 1
x = 40
local y = 2
"two\nlines"
x + y
for i = 1, 2 do
  io.write("loop", i, "\n")
end
6 * 7;
_
'
run "a session through a pipe" 0
out '2'
out '"two\nlines"'
out '42'
out 'loop2'
no_err
grep -q '^> ' "$work/out" && fail "$name: it prompts"
given='error "first"
print(("still"):rep(1), "here")
undefined_name
:nonsense
'
run "errors keep the session" 1
out "still	here"
err "first"
err "undefined_name is not defined"
err "no command is called :nonsense"
given='for i = 1, 3 do
'
run "an unfinished line" 1
err "the input ends in the middle of: for i = 1, 3 do"
given='prnt(1)
'
run "a near miss" 1
err "did you mean print?"
given='?pl.load
??pl.load
:help
v = {1, 2}
:whos
:time 1 + 1
:quit
print "not reached"
'
run "questions and commands" 0
out "pl.load(path, opts)"
out "stdlib/perilune/load.lua:"
out ":whos"
out "table of 2"
out " ms"
grep -q "not reached" "$work/out" && fail "$name: :quit goes on"
given='pl.zeros({ 5000, 4000 }, { axes = { "token", "hidden" } })
_
'
run "a large result is not kept" 0
out "not kept in _"
given='m = pl.load "tests/golden/llama-gqa"
r = m:debug({ 1, 2, 3 })
:break embeddings
:continue
t.shape.token
:unbreak
:continue
r.logits.rank
'
run "m:debug stops at tensors" 0
out "embeddings"
out "Tensor f32"
given=

[ $failures -eq 0 ] && echo "program: ok"
[ $failures -eq 0 ]
