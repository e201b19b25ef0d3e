-- Batching policies: who runs next. Each is a constructor that gives { name=, plan=function(queue, room) };
-- an engine runs fifo, fill and buckets without calling Lua. The others are Lua, each in the file of its name
-- beside this one, to read and to copy; those three are there too, as Lua that plans the same.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local policy = {}

--- First in, first out: answers under way go on, then prompts in order of arrival, as much as fits.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m, { policy = pl.policy.fifo({}) })
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     print(#line:result().ids)                                             --> 3
---@param opts table|nil none
---@return table policy
function policy.fifo(opts)
  options.check(opts, {}, "fifo")
  return core.policy "fifo"
end

--- As fifo, but what does not fit into a step is passed over: steps are fuller, and a long prompt may
--- be overtaken.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m, { policy = pl.policy.fill({}) })
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     print(#line:result().ids)                                             --> 3
---@param opts table|nil none
---@return table policy
function policy.fill(opts)
  options.check(opts, {}, "fill")
  return core.policy "fill"
end

local function check_bounds(bounds)
  if type(bounds) ~= "table" or #bounds == 0 then
    raise("argument", "buckets", "expected the longest lengths of buckets, got " .. options.show(bounds), "for instance pl.policy.buckets{ 16, 64, 256 }")
  end
  local count = 0
  for _ in pairs(bounds) do count = count + 1 end
  for i = 1, count do
    local bound = bounds[i]
    if type(bound) ~= "number" or bound % 1 ~= 0 or bound < 1 then
      raise("argument", "buckets", ("length %d: expected a whole number from 1, got %s"):format(i, options.show(bound)))
    end
    if i > 1 and bound <= bounds[i - 1] then
      raise("argument", "buckets", ("length %d, %d, is not above %d before it"):format(i, bound, bounds[i - 1]), "list them in ascending order")
    end
  end
end

--- Prompts by length: a step reads prompts of one bucket only, in order of arrival, as many as fit. A
--- bucket holds prompts up to its bound, the last one those beyond all bounds. The prompt that has
--- waited longest says whose turn it is, so none waits forever. Answers under way always go on. Padded
--- in a model that pads, prompts of like length waste little; here, where nothing is padded, they take
--- steps of even size, so that a short prompt does not wait for a long one to be read beside it.
---
---     local m = pl.load "scripts/models/tales"
---     print(#m:generate({ "Once", "The" }, { policy = pl.policy.buckets { 16, 64 }, max_new_tokens = 1 }))   --> 2
---@param bounds integer[] the most tokens of each bucket, ascending
---@return table policy
function policy.buckets(bounds)
  check_bounds(bounds)
  return core.policy("buckets", bounds)
end

-- One written in Lua, in the file of its name, with options that are checked here.
local function scripted(name, opts, spec)
  options.check(opts, spec, name)
  for key, value in pairs(opts or {}) do
    if type(value) == "number" and value <= 0 then
      raise("option", name, ("option %s: expected a number above 0, got %s"):format(key, tostring(value)))
    end
  end
  return require("perilune.policy." .. name)(opts)
end

--- The request with the least left to do goes first (its pending tokens and what it may still write); after
--- `patience` steps without a turn anyone does, so that none waits forever.
---
---     local work = { { prompt = 60, output = 40 }, { prompt = 4, output = 4 } }
---     local r = pl.simulate(pl.policy.shortest_first(), work, { ms_per_step = 1 }, { rows = 1 })
---     print(r.requests[1].wait_ms, r.requests[2].wait_ms)                   --> 4	0
---@param opts table|nil { patience=50 (steps) }
---@return table policy
function policy.shortest_first(opts) return scripted("shortest_first", opts, { patience = "positive" }) end

--- First-fit decreasing on tokens: prompts are packed whole into steps, the longest first, each into the first
--- that still holds it; the step with the prompt that came first runs. Steps are full, few prompts are cut, and
--- none waits forever.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m, { policy = pl.policy.bin_pack({}) })
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     print(#line:result().ids)                                             --> 3
---@param opts table|nil none
---@return table policy
function policy.bin_pack(opts) return scripted("bin_pack", opts, {}) end

--- No step computes more than so many tokens: answers under way first, prompts in parts of what is left. The gap
--- between two tokens of an answer is bounded, however long the prompts are that come in.
---
---     local r = pl.simulate(pl.policy.token_budget(16), { 40 }, { ms_per_step = 1 })
---     print(r.steps, r.timeline[1].tokens)                                  --> 3	16
---@param opts integer|table|nil tokens of a step, or { tokens=256 }
---@return table policy
function policy.token_budget(opts)
  if type(opts) == "number" then opts = { tokens = opts } end
  return scripted("token_budget", opts, { tokens = "positive" })
end

--- The highest priority first, answers under way and prompts alike. Every ageing_ms since it was asked count as
--- one step of priority, so that the lowest gets its turn as well.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m, { policy = pl.policy.priority({}) })
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     print(#line:result().ids)                                             --> 3
---@param opts table|nil { ageing_ms=1000 }
---@return table policy
function policy.priority(opts) return scripted("priority", opts, { ageing_ms = "number" }) end

--- Every client (option client= of a request) gets the same number of tokens, or its share by its weight. Who has
--- had least goes next; who comes anew begins level with the one that has had least. The table it gives is one
--- engine's: it keeps count.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m, { policy = pl.policy.fair({}) })
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     print(#line:result().ids)                                             --> 3
---@param opts table|nil { weights={ client → number, 1 where absent } }
---@return table policy
function policy.fair(opts)
  options.check(opts, { weights = "table" }, "fair")
  for name, weight in pairs(opts and opts.weights or {}) do
    if type(weight) ~= "number" or not (weight > 0 and weight < math.huge) then
      raise("option", "fair", ("option weights: %s: expected a number above 0, got %s"):format(options.show(name), options.show(weight)))
    end
  end
  return scripted("fair", opts, { weights = "table" })
end

--- The earliest deadline (option deadline_ms= of a request) first, those without one last. What cannot make its
--- deadline any more is dropped: it ends as "cancelled", and its result's error says by how much it was late, or
--- would have been at the pace of the last steps with all that it may write.
---
---     local work = { { prompt = 4, output = 50, deadline_ms = 20 }, { prompt = 4, output = 10, deadline_ms = 20 } }
---     local r = pl.simulate(pl.policy.deadline(), work, { ms_per_step = 1 })
---     print(r.requests[1].finish_reason, r.requests[1].error)               --> cancelled	deadline: 49 steps of 1 ms would end 30 ms too late
---     print(r.requests[2].finish_reason, r.requests[2].error)               --> length	nil
---@param opts table|nil { judge="answer" (default: with all that it may write)|"first_token" (with its prompt alone) }
---@return table policy
function policy.deadline(opts) return scripted("deadline", opts, { judge = { "answer", "first_token" } }) end

--- Requests that begin alike, one after the other: the first of a group reads the common beginning, the others
--- wait until it has, to find it among the pages that are kept. Prompts of which most is kept go first; after
--- `patience` steps without a turn anyone does.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m, { policy = pl.policy.prefix_first({}) })
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     print(#line:result().ids)                                             --> 3
---@param opts table|nil { group=function(entry) → any (default: its tag; nil: of no group), patience=50 (steps) }
---@return table policy
function policy.prefix_first(opts) return scripted("prefix_first", opts, { group = "function", patience = "positive" }) end

--- Batches as they are without an engine: `rows` requests at a time, padded to the longest, and the next ones when
--- all of them are done. To show what that costs; no answer differs.
---
---     local work = { { prompt = 30, output = 2 }, { prompt = 3, output = 20 }, { prompt = 5, output = 2 } }
---     local r = pl.simulate(pl.policy.padded { rows = 2 }, work, { ms_per_step = 1 })
---     print(r.steps, r.waste > 0.2, r.requests[3].wait_ms)                  --> 22	true	20
---@param opts table|nil { rows=8 }
---@return table policy
function policy.padded(opts) return scripted("padded", opts, { rows = "positive" }) end

return setmetatable(policy, { __index = function(t, name)
  local names = {}
  for known in pairs(t) do names[#names + 1] = known end
  local near = type(name) == "string" and core.nearest(name, names)
  return raise("argument", "policy", ("there is no pl.policy.%s"):format(tostring(name)),
    near and ("did you mean pl.policy." .. near .. "?") or options.unknown(name, names, "policies", "pl.policy"))
end })
