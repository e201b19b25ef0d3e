-- How far a step goes over its budget: the answer to a long prompt, computed in steps of a few milliseconds, as a
-- game's frame loop would. On a busy machine the tail is the scheduler's: the processor's time, with one thread, is
-- told as well.
--
--     perilune tests/bench/step_budget.lua [MODEL] [--budget MS] [--prompt TOKENS] [--tokens N] [--threads N] [--compute C] [--pause MS]
local ffi = require "ffi"
local pl = require "perilune"

ffi.cdef "struct step_time { long seconds, nanoseconds; }; int clock_gettime(int clock, struct step_time* now);"
local now = ffi.new "struct step_time"
local function processor_ms()
  ffi.C.clock_gettime(3, now)   -- of this thread
  return tonumber(now.seconds) * 1e3 + tonumber(now.nanoseconds) / 1e6
end

local o, words = { budget = 3, prompt = 1500, tokens = 40, threads = 1, compute = "default", pause = 0 }, {}
do
  local at = 1
  while arg[at] do
    local name = arg[at]:match "^%-%-(%a+)$"
    if name and o[name] then
      o[name], at = tonumber(arg[at + 1]) or arg[at + 1], at + 1
    else
      words[#words + 1] = arg[at]
    end
    at = at + 1
  end
end
local m = pl.load(words[1] or "smollm2", { threads = o.threads, compute = o.compute ~= "default" and o.compute or nil })
local ids = {}
for i = 1, o.prompt do ids[i] = 300 + i * 37 % 5000 end

local over, busy, steps = {}, {}, 0
local engine = pl.engine(m)
engine:submit(ids, { max_new_tokens = 2 })
engine:drain()   -- packs weights, takes memory
local line = engine:submit(ids, { max_new_tokens = o.tokens, min_new_tokens = o.tokens, do_sample = true, seed = 7, reuse = false })
local start = pl.clock()
while not engine:idle() do
  local begin, begin_busy = pl.clock(), processor_ms()
  engine:step { budget_ms = o.budget }
  steps = steps + 1
  over[steps], busy[steps] = (pl.clock() - begin) * 1000 - o.budget, processor_ms() - begin_busy - o.budget
  if o.pause > 0 then pl.sleep(o.pause / 1000) end   -- the rest of a frame
end
local took = pl.clock() - start
print(("%s, %s thread(s), prompt %d, %d new tokens: %d steps of %g ms in %.1f s"):format(words[1] or "smollm2", o.threads, o.prompt,
  #line:result().ids, steps, o.budget, took))
local function tell(what, list)
  table.sort(list)
  local function at(share) return list[math.max(1, math.ceil(share * steps))] end
  print(("over the budget in ms of %s: median %.2f, 90%% %.2f, 99%% %.2f, most %.2f"):format(what, at(0.5), at(0.9), at(0.99), list[steps]))
end
tell("the clock", over)
if o.threads == 1 then tell("the processor", busy) end
