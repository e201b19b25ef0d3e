-- pl.engine: requests of many clients, served step by step under a policy.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"
local pass_runner = require "perilune.loaded.pass_runner"
local family = require "perilune.loaded.family"
local submit = require "perilune.serve.submit"
local generation = require "perilune.serve.generation"
local recording = require "perilune.serve.recording"
local replicas = require "perilune.serve.replicas"
local policies = require "perilune.policy"
local core = require "perilune.core"

local engine = {}

local Engine = { __name = "Engine" }

function Engine.__index(_, key)
  if Engine[key] then return Engine[key] end
  local names = names_of(Engine, "^__")
  return raise("argument", "engine", ('an Engine has no method "%s"'):format(tostring(key)), options.unknown(key, names, "methods", "Engine"))
end

local spec = { policy = "table|function", memory = "positive", worker = "boolean", max_tokens = "positive", max_rows = "positive", reuse = "boolean",
  record = "boolean" }

local function model_list(models)
  if kind.of(models) == "Model" then models = { models } end
  if type(models) ~= "table" or #models == 0 then
    raise("argument", "engine", "expected a model or a list of models, got " .. options.show(models),
      "the models come first: pl.engine(m, { policy = … })")
  end
  for i, m in ipairs(kind.whole(models, "engine", "models")) do
    if kind.of(m) ~= "Model" then raise("argument", "engine", ("entry %d of the list is not a model"):format(i)) end
    pass_runner.open(m, "engine")
  end
  return models
end

--- An engine that serves requests of many clients, step by step, in the order its policy says. With
--- worker = true a thread of its own steps; its policy is one of pl.policy then, and requests bring no
--- functions.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m, { policy = pl.policy.buckets { 16, 64 } })
---     local line = engine:submit("Once upon a time", { max_new_tokens = 4 })
---     while not engine:idle() do engine:step { budget_ms = 3 } end
---     print(line:result().finish_reason)                                    --> length
---
--- Models that were loaded alike (the same files, compute and cache; on devices of their own, for instance) are replicas: a
--- request that says no model= goes to the one with the fewest unfinished requests, or where the policy's `replica` says,
--- and its answer is the same. Of models that differ the first is meant.
---
---     local other = pl.load "scripts/models/tales"
---     local both = pl.engine({ m, other }, { policy = { plan = function(queue) return queue end,
---       replica = function(request, replicas) return request.client == "npc7" and 2 or 1 end } })
---     both:submit("Once", { max_new_tokens = 2, client = "npc7" })
---     print(both:drain():replicas()[2].taken)                               --> 1
---@param models Model|Model[]
---@param opts table|nil { policy=, memory= (bytes of keys and values), max_tokens=, max_rows= (of one step), worker=true (own thread), reuse=false,
--- record=false (every step, for e:timeline and e:queue) }
---@return Engine
function engine.engine(models, opts)
  local list = model_list(models)
  local o = options.check(opts, spec, "engine")
  local pools = {}
  if o.memory or o.worker then   -- a thread of its own shares no pool with the model's other calls
    for i, m in ipairs(list) do
      pools[i] = pass_runner.pool(rawget(m, "state_"), o.memory and math.floor(o.memory / #list), true)
    end
  end
  if o.record and o.worker then raise("option", "engine", "option record: not for an engine with a thread of its own") end
  local record, policy = o.record and recording.new() or false, o.policy or policies.fifo()
  return setmetatable({ core_ = submit.engine(record and record:wrap(policy) or policy, { max_tokens = o.max_tokens, max_rows = o.max_rows,
    worker = o.worker }), models_ = list, replicas_ = replicas.of(list) or false, pools_ = pools, reuse_ = o.reuse, record_ = record,
    policy_ = policy, worker_ = o.worker, times_ = setmetatable({}, { __mode = "k" }) }, Engine)
end

local function open(e, op)
  pass_runner.expect(e, "Engine", op)
  local core_engine = rawget(e, "core_")
  if not core_engine then raise("state", op, "the engine was closed") end
  return core_engine
end

-- A request's engine, for those who wait for it; neither keeps the other.
local engine_of = setmetatable({}, { __mode = "kv" })

--- The engine of a request that Engine:submit gave.
---@param request Request
---@return Engine|nil
function engine.of(request) return engine_of[request] end

-- A model, its pool, and the replica that it is where nobody said which.
local function choose_model(e, given, what, op)
  local list, wanted, alike = rawget(e, "models_"), given.model, rawget(e, "replicas_")
  if wanted == nil and alike then
    local request = { kind = what, client = given.client, tag = given.tag, priority = given.priority, deadline_ms = given.deadline_ms }
    local at = replicas.choose(alike, rawget(e, "policy_"), request)
    return list[at], rawget(e, "pools_")[at], alike[at]
  end
  if wanted == nil then return list[1], rawget(e, "pools_")[1] end
  for i, m in ipairs(list) do if m == wanted or i == wanted then return m, rawget(e, "pools_")[i] end end
  return raise("option", op, "option model: the engine does not serve this model", "list it in pl.engine{ … }")
end

-- Remembers whose a request is and when it came, as long as the caller keeps it.
local function noted(e, line, replica)
  engine_of[line] = e
  if replica then replicas.note(replica, line) end
  rawget(e, "times_")[line] = core.clock() * 1000
  local record = rawget(e, "record_")
  if record then record:submitted(line) end
  return line
end

local forward_spec = { decoder = "table|Batch", priority = "integer", deadline_ms = "number", client = "string", tag = "any",
  decoder_start_token_id = "count", allow_foreign = "boolean", adapter = "string|boolean" }

--- Takes a prompt (for a model that writes text) or an input to run once through another head.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     print(line:result().finish_reason)                                    --> length
---@param input any as m:generate or m:forward take it; one row
---@param opts GenerateOptions|nil and model= (of several), kind="generate"|"forward"; decoder= (of an encoder-decoder)
---@return Request
function Engine:submit(input, opts)
  local core_engine = open(self, "submit")
  local given = {}
  if opts ~= nil and type(opts) ~= "table" then options.check(opts, {}, "submit") end
  for key, value in pairs(opts or {}) do given[key] = value end
  local what = given.kind or (family.predicts_next[rawget(self, "models_")[1].head] and "generate" or "forward")
  if given.model ~= nil and given.kind == nil then
    local own = choose_model(self, given, what, "submit")
    what = family.predicts_next[own.head] and "generate" or "forward"
  end
  local m, pool, replica = choose_model(self, given, what, "submit")
  given.model, given.kind = nil, nil
  if what == "generate" and given.reuse == nil then given.reuse = rawget(self, "reuse_") end
  if what == "forward" then
    return noted(self, submit.submit_forward(m, core_engine, input, options.check(given, forward_spec, "submit"), pool), replica)
  end
  if what ~= "generate" then raise("option", "submit", 'option kind: expected "generate" or "forward", got ' .. options.show(what)) end
  submit.check_causal(m, "submit")
  local prompts, single = submit.read(m, input, options.check(given, generation.spec, "submit"), "submit")
  if not single and #prompts ~= 1 then
    raise("argument", "submit", ("one prompt a request, got %d"):format(#prompts), "submit each by itself: the engine batches them")
  end
  local request = submit.submit(m, core_engine, prompts[1], "submit", pool)
  return noted(self, request, replica)
end

--- Runs passes until the budget is spent or nothing is runnable; without a budget, one pass. Of an
--- engine with a thread of its own: what it did since the last call.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     local did = engine:step { budget_ms = 1000 }
---     print(did.tokens > 0)                                                 --> true
---@param opts table|nil { budget_ms= }
---@return table { tokens=, positions= (computed, with what a padded layout fills up), rows=, ms=, idle=, pending=, wait_ms= }
function Engine:step(opts)
  return open(self, "step"):step(options.check(opts, { budget_ms = "number" }, "step"))
end

--- Events of all requests that nobody took yet: `for request, event in e:events() do`.
---
---     local m = pl.load "scripts/models/tales"
---     local engine, done = pl.engine(m), 0
---     for _, prompt in ipairs { "Once", "The" } do engine:submit(prompt, { max_new_tokens = 2 }) end
---     engine:drain()
---     for request, event in engine:events() do if event.kind == "done" then done = done + 1 end end
---     print(done)                                                           --> 2
---@return fun(): Request, table
function Engine:events() return open(self, "events"):events() end

--- Steps until nothing is left to do; sleeps where the policy waits (wait_ms).
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     local line = engine:submit("Once upon a time", { max_new_tokens = 3, do_sample = false })
---     engine:drain()
---     print(#line:result().ids)                                             --> 3
---@return Engine self
function Engine:drain()
  open(self, "drain"):drain()
  return self
end

--- Counts since the engine was made.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     engine:submit("Once", { max_new_tokens = 2 })
---     print(engine:drain():stats().finished)                                --> 1
---@return table { steps=, tokens=, positions=, rows=, finished=, waiting=, running=, starved=, device_choices=, busy_ms=, cache_bytes= } starved:
--- requests that did not run for 200 steps while others did; each has a warning among its events; device_choices: tokens
--- chosen on a GPU, of whose logits nothing came to the host
function Engine:stats() return open(self, "stats"):stats() end

--- The replicas of one model that the engine serves, as a policy's `replica` sees them.
---
---     local m = pl.load "scripts/models/tales"
---     print(#pl.engine { m, pl.load "scripts/models/tales" }:replicas())    --> 2
---@return table[] list of { model=, device=, unfinished= (requests), taken= (so far) }; empty where there is one model, or they differ
function Engine:replicas()
  open(self, "replicas")
  local list = rawget(self, "replicas_")
  return list and replicas.seen(list) or {}
end

--- Another policy from the next step on.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     engine:set_policy(pl.policy.shortest_first())
---     engine:submit("Once", { max_new_tokens = 3, do_sample = false })
---     print(engine:drain():stats().policy)                                  --> nil
---@param policy table|function
---@return Engine self
function Engine:set_policy(policy)
  if type(policy) ~= "table" and type(policy) ~= "function" then
    raise("argument", "set_policy", "expected a function or a table with plan=, got " .. options.show(policy))
  end
  local core_engine, record = open(self, "set_policy"), rawget(self, "record_")
  core_engine:set_policy(record and record:wrap(policy) or policy)
  rawset(self, "policy_", policy)
  return self
end

--- Says whether further requests may come: room.more of policies, which may then wait for them. While the
--- engine drains nothing comes; of an engine with a thread of its own more may come until then.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     print(engine:set_more(true) == engine)                                --> true
---@param more boolean
---@return Engine self
function Engine:set_more(more)
  open(self, "set_more"):set_more(more)
  return self
end

-- Steps are seen from now on.
local function recorded(e, op)
  local core_engine, record = open(e, op), rawget(e, "record_")
  if record then return record end
  if rawget(e, "worker_") then raise("unsupported", op, "an engine with a thread of its own is not looked into", "e:stats() counts") end
  record = recording.new()
  rawset(e, "record_", record)
  core_engine:set_policy(record:wrap(rawget(e, "policy_")))
  return record
end

--- The queue as the last step saw it: who waits and for what, who runs and with how many tokens; prints as a table. The
--- first call begins to look; e:step() steps once, e:set_policy changes who goes next.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m, { max_rows = 1, record = true })
---     local first, second = engine:submit("Once", { max_new_tokens = 4 }), engine:submit("The", { max_new_tokens = 4 })
---     engine:step()
---     local q = engine:queue()
---     print(q[1].runs, q[2].waits_for)                                      --> 2	the step's rows: 1 of 1 are taken
---@return table list of { id=, state=, prompt_tokens=, cached_tokens=, new_tokens=, waited_steps=, runs= (tokens), waits_for= };
--- waiting=, running=, finished=, steps=, tokens=, tokens_per_s=, pages= (free), cache_bytes=
function Engine:queue()
  local stats = open(self, "queue"):stats()
  return recording.queue(stats, recorded(self, "queue"))
end

--- Writes what the engine did as an SVG: a line a request (waits, reads its prompt, writes), below them the positions of
--- each step and what padding adds. Of an engine made with record=true every step; else a request's times as a whole.
---
---     local m, path = pl.load "scripts/models/tales", os.tmpname() .. ".svg"
---     local engine = pl.engine(m, { record = true })
---     engine:submit("Once upon a time", { max_new_tokens = 3 })
---     engine:drain():timeline(path)
---     print(pl.files.exists(path))                                          --> true	file
---     pl.files.remove(path)
---@param path string
---@param opts table|nil { by="ms"|"steps" (recorded engines only: every step as wide as the others) }
---@return Engine self
function Engine:timeline(path, opts)
  open(self, "timeline")
  local by = options.check(opts, { by = { "ms", "steps" } }, "timeline").by
  if type(path) ~= "string" or path == "" then raise("argument", "timeline", "expected a file name, got " .. options.show(path)) end
  local record = rawget(self, "record_")
  local result
  if record then
    result = record:result()
    if by == "steps" then result = recording.in_steps(result) end
  elseif by == "steps" then
    raise("option", "timeline", "option by: the steps of this engine were not recorded", "pl.engine(m, { record = true })")
  else
    local lines = {}
    for line, at in pairs(rawget(self, "times_")) do lines[#lines + 1] = { line = line, at_ms = at } end
    table.sort(lines, function(a, b) return a.line.id < b.line.id end)
    result = recording.of_results(lines)
  end
  core.write_file(path, require("perilune.show.timeline").svg(result))
  return self
end

--- Whether nothing is waiting or running.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     print(engine:idle())                                                  --> true
---     engine:submit("Once", { max_new_tokens = 3, do_sample = false })
---     print(engine:idle())                                                  --> false
---@return boolean
function Engine:idle() return open(self, "idle"):idle() end

--- Cancels what is left and gives its memory back.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     engine:close()
---     print(pcall(engine.step, engine))   --> false	step: the engine was closed
function Engine:close()
  pass_runner.expect(self, "Engine", "close")
  local core_engine = rawget(self, "core_")
  if not core_engine then return end
  if core_engine:stepping() then raise("state", "close", "called from inside the engine's own step") end
  pcall(function()
    core_engine:cancel_all()
    core_engine:drain()
  end)
  core_engine:close()
  rawset(self, "core_", false)
end

function Engine.__tostring(e)
  local core_engine = rawget(e, "core_")
  if not core_engine then return "Engine (closed)" end
  local stats = core_engine:stats()
  return ("Engine %d waiting, %d running, %d finished, %d steps"):format(stats.waiting, stats.running, stats.finished, stats.steps)
end

return engine
