#!/bin/sh
# The program under abuse: bytecode, Ctrl-C in compiled loops, small stacks, fork(), and single
# allocations that fail (a thin sweep; tests/campaign.sh has all of them).
set -u
cd "$(dirname "$0")/../.."
program=${PERILUNE:-build/release/perilune}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
  echo "FAILED: $1"
  sed 's/^/  /' "$work/out"
  failures=$((failures + 1))
}
# run NAME STATUS COMMAND...
run() {
  name=$1 wanted=$2
  shift 2
  "$@" >"$work/out" 2>&1
  status=$?
  [ "$status" -eq "$wanted" ] || fail "$name: status $status, expected $wanted"
}
says() { grep -qF -- "$1" "$work/out" || fail "$name: lacks: $1"; }

# ---------------------------------------------------------------- bytecode
printf 'print("from bytecode", ...)' >"$work/text.lua"
run "making bytecode" 0 "$program" -e 'local f = io.open(arg[2], "wb") f:write(string.dump(loadfile(arg[1]))) f:close()' "$work/text.lua" "$work/code.lua"
run "a script is text" 1 "$program" "$work/code.lua"
says "perilune --bytecode"
run "bytecode that is asked for" 0 "$program" --bytecode "$work/code.lua" x
says "from bytecode	x"
run "text is no bytecode" 1 "$program" --bytecode "$work/text.lua"
run "--bytecode without a file" 2 "$program" --bytecode
run "a module is text" 1 "$program" -e 'package.path = arg[1] .. "/?.lua" require "code"' "$work"
says "attempt to load chunk with wrong mode"
for call in 'loadfile(arg[1])' 'dofile(arg[1])' 'load(io.open(arg[1], "rb"):read "*a")' 'loadstring(string.dump(function() end))'; do
  run "compiled Lua is refused: $call" 1 "$program" -e "assert($call)" "$work/code.lua"
  says "wrong mode"
done
run "compiled Lua that a script asks for" 0 "$program" -e 'loadfile(arg[1], "b")("y")' "$work/code.lua"
says "from bytecode	y"

# ---------------------------------------------------------------- the first Ctrl-C
# interrupted NAME CODE: one SIGINT ends the loop with an error of the script, whatever compiled it.
interrupted() {
  name="Ctrl-C in: $1"
  "$program" -e "io.stdout:write('on\n') io.stdout:flush() $1" >"$work/out" 2>&1 &
  child=$!
  while ! grep -q on "$work/out"; do sleep 0.05; done
  sleep 0.3
  kill -INT $child
  (sleep 20 && kill -KILL $child) 2>/dev/null &
  watch=$!
  wait $child
  status=$?
  kill $watch 2>/dev/null
  [ "$status" -lt 128 ] || [ "$status" -eq 130 ] || fail "$name: status $status"
  says "interrupted"
}
if [ -z "${PERILUNE_SANITIZE-}" ]; then
  interrupted 'while true do end'
  interrupted 'local i = 0 while true do i = i + 1 end'
  interrupted 'local t = {} for i = 1, 1e15 do t[i % 10] = i end'
  interrupted 'local function f(x) return x + 1 end local i = 0 while true do i = f(i) end'
  interrupted 'for i = 1, 1e15 do local x = ("x"):rep(3) .. i end'
  interrupted 'coroutine.wrap(function() while true do end end)()'
fi

# ---------------------------------------------------------------- small stacks
cat >"$work/deep.lua" <<'END'
local pl = require "perilune"
local m = pl.load("tests/golden/llama-gqa", { threads = 1 })
local deepest, depth = 0, 0
local function p()
  depth = depth + 1
  deepest = math.max(deepest, depth)
  local r = m:generate({ 3 }, { max_new_tokens = 1, processors = p })
  depth = depth - 1
  if r.error then error(r.error, 0) end
end
local _, first = pl.try(m.generate, m, { 3 }, { max_new_tokens = 1, processors = p })
local _, err = pl.try(function()
  m:hook("layers.0", function() m:forward { { 1, 2 } } end)
  m:forward { { 1, 2, 3 } }
end)
print("deepest", deepest, first)
print(tostring(err))
END
if [ -z "${PERILUNE_SANITIZE-}" ]; then
  run "callbacks on a stack of 1 MB" 0 sh -c "ulimit -s 1024; exec '$program' '$work/deep.lua'"
  says "nested 16 deep"
fi

# ---------------------------------------------------------------- fork
cat >"$work/fork.lua" <<'END'
local ffi = require "ffi"
ffi.cdef "int fork(void); int waitpid(int, int*, int); void _exit(int); unsigned alarm(unsigned);"
local pl = require "perilune"
local m = pl.load("tests/golden/llama-gqa", { threads = 3 })
local function text() return table.concat(m:generate({ 3, 4, 5 }, { max_new_tokens = 5, do_sample = false }).ids, " ") end
local e = arg[1] == "worker" and pl.engine(m, { worker = true })
local before = text()
local child = ffi.C.fork()
if child == 0 then
  ffi.C.alarm(60)
  if text() ~= before then ffi.C._exit(9) end
  if arg[1] == "close" then
    m:close()
  elseif arg[1] == "load" then
    pl.load("tests/golden/gpt2-plain", { threads = 2 }):close()
  end
  os.exit(5, true)
end
assert(text() == before)
local status = ffi.new "int[1]"
ffi.C.waitpid(child, status, 0)
assert(text() == before)
if e then e:close() end
print("child ended with", bit.rshift(status[0], 8), bit.band(status[0], 127))
END
if [ -z "${PERILUNE_SANITIZE-}" ]; then
  for how in exit close load; do
    run "a forked child: $how" 0 "$program" "$work/fork.lua" $how
    says "child ended with	5	0"
  done
fi

# ---------------------------------------------------------------- allocations that fail
if [ -n "${PERILUNE_FAILING_ALLOCATIONS-}" ] && [ -z "${PERILUNE_SANITIZE-}" ]; then
  for model in gpt2-plain bert-base; do
    run "allocations of $model that fail" 0 env LD_PRELOAD="$PERILUNE_FAILING_ALLOCATIONS" \
      "$program" tests/faults/allocation_failures.lua "tests/golden/$model" 197
  done
fi

[ "$failures" -eq 0 ] || exit 1
