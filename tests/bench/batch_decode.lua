-- What a batch brings to decoding: tokens a second of one sequence and of several in one step, by the clock and by
-- processor time (which other programs disturb less), for files or for types that a model is quantized to.
--
--     perilune tests/bench/batch_decode.lua MODEL … [--types q8_0,nf4,…] [--rows 16] [--threads 1] [--new 16] [--rounds 3]
--
-- With --types each MODEL is loaded once a type. Both sides are measured in every round, one after the other: the time of
-- answers of 4 + new tokens less that of answers of 4, so that prompts and what surrounds them count for nothing.
local pl = require "perilune"
local core = require "perilune.core"
local speed = require "perilune.program.speed"

local o = { rows = 16, threads = 1, new = 16, rounds = 3 }
local models = dofile((arg[0]:match "^.*/" or "") .. "arguments.lua")("batch_decode", o, { types = true })
assert(models[1], "batch_decode: name a model")
core.set_threads(o.threads)

local few = 4   -- tokens that are not counted

local function seconds(m, rows, new)
  local batch = {}
  for r = 1, rows do
    batch[r] = speed.prompt_ids(m, 4)
    batch[r][1] = r   -- nothing to share
  end
  local started, spent = core.clock(), os.clock()
  m:generate(batch, { max_new_tokens = new, min_new_tokens = new, do_sample = false, reuse = false })
  return core.clock() - started, os.clock() - spent
end

local function rates(m, rows)
  local wall, spent = seconds(m, rows, few)
  local more_wall, more_spent = seconds(m, rows, few + o.new)
  return rows * o.new / (more_wall - wall), rows * o.new / (more_spent - spent)
end

local function measure(name, m)
  local found = { {}, {}, {}, {} }
  rates(m, o.rows)   -- warm
  for _ = 1, o.rounds do
    local one_wall, one_spent = rates(m, 1)
    local all_wall, all_spent = rates(m, o.rows)
    for i, value in ipairs { one_spent, all_spent, all_spent / one_spent, all_wall / one_wall } do table.insert(found[i], value) end
  end
  print(("| %s (%s) | %.1f | %.1f | %.2f | %.2f |"):format(name, m.compute, speed.median(found[1]), speed.median(found[2]),
    speed.median(found[3]), speed.median(found[4])))
  io.stdout:flush()
  m:close()
end

print(("%d thread(s), %d rounds, medians; tokens a second of processor time"):format(o.threads, o.rounds))
print(("| weights | 1 row | %d rows | times | times by the clock |\n|---|---|---|---|---|"):format(o.rows))
for _, path in ipairs(models) do
  if not o.types then measure(path:match "[^/]+$", pl.load(path)) end
  for name in (o.types or ""):gmatch "[^,]+" do measure(name, pl.load(path, { quantize = name })) end
end
