-- A loaded model's programs, plans and cache pool, made when they are first needed, and one pass run
-- through them: compiled, or line by line when the model is eager or has hooks.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"
local progress = require "perilune.base.progress"
local passes = require "perilune.loaded.passes"
local family = require "perilune.loaded.family"
local ranks = require "perilune.loaded.ranks"

local pass_runner = {}

pass_runner.expect = kind.expect

--- A model's state, or an error when it was closed.
---@param m table
---@param op string
---@return table
function pass_runner.open(m, op)
  pass_runner.expect(m, "Model", op)
  local s = rawget(m, "state_")
  if s.closed then raise("state", op, "the model was closed: " .. s.path, "load it again") end
  return s
end

--- The program of an entry, with the model's head where it follows.
---@param s table
---@param entry string
---@return userdata
function pass_runner.program(s, entry)
  local program = s.programs[entry]
  if not program then
    local after = entry == "cross" and { pass_runner.program(s, "encode") } or nil
    program = passes.trace(s.checkpoint, s.family, s.c, entry, s.head, { after = after, outliers = s.outliers })
    s.programs[entry] = program
  end
  return program
end

--- The element type of keys and values as tensors name it.
---@param s table
---@return string
function pass_runner.stored_as(s) return s.cache_dtype == "int8" and "i8" or s.cache_dtype end

--- The plan of an entry that gives back these canonical paths besides its outputs.
---@param s table
---@param entry string
---@param paths string[]|nil
---@return userdata
function pass_runner.plan(s, entry, paths)
  local key = entry .. "/" .. table.concat(paths or {}, " ")
  local plan = s.plans[key]
  if not plan then
    plan = core.plan(pass_runner.program(s, entry), { compute = s.compute, cache_dtype = pass_runner.stored_as(s), device = s.device,
      devices = s.placed and s.placed[entry], threads = s.threads, outputs = paths or {}, ranks = s.rank_model, rank_key = s.rank_model and key })
    s.plans[key] = plan
  end
  return plan
end

--- The plans that a model runs, one an entry, in the order they run.
---@param s table
---@return userdata[]
function pass_runner.plans(s)
  local list = {}
  for i, entry in ipairs(s.family.entries) do list[i] = pass_runner.plan(s, entry) end
  return list
end

--- The entry that a batch goes through: the main one, or of several the first that finds all it reads.
---@param s table
---@param batch userdata
---@return string
function pass_runner.entry_for(s, batch)
  local main = family.main_entry(s.family)
  if s.family.decode or #s.family.entries == 1 then return main end
  local has = {}
  for _, name in ipairs(batch.inputs) do has[name] = true end
  for _, entry in ipairs(s.family.entries) do
    local whole = true
    for _, name in ipairs(pass_runner.program(s, entry):inputs()) do whole = whole and has[name] end
    if whole then return entry end
  end
  return main
end

--- The pool that keys and values live in; nil for a model that keeps none.
---@param s table
---@param budget integer|nil bytes: a pool of its own
---@param own boolean|nil a pool of its own, of the usual size
---@return userdata|nil
function pass_runner.pool(s, budget, own)
  own = own or budget ~= nil
  if s.pool ~= nil and not own then return s.pool or nil end
  local limits = {}
  for name, most in pairs(s.limits or {}) do
    local needed = pass_runner.needs(s, 512, 16, name)
    limits[name] = math.max(0, most - needed.weights - needed.workspace)
  end
  local pool = core.cache(pass_runner.plans(s), { dtype = pass_runner.stored_as(s), budget = budget, limits = limits })
  if not own then s.pool = pool or false end
  return pool
end

--- Bytes of keys and values of one sequence as long as the model's context: windows hold what they see.
---@param s table
---@param pool userdata|nil
---@return integer|nil nil where nothing limits the context
function pass_runner.context_bytes(s, pool)
  if not pool then return 0 end
  return s.c.max_tokens and pool:bytes_for(s.c.max_tokens) or nil
end

--- Bytes that a model takes: weights as they are packed for the compute mode, and the workspace of a step.
---@param s table
---@param tokens integer of the step
---@param rows integer
---@param device string|nil of this device alone
---@return table { weights=, workspace= }
function pass_runner.needs(s, tokens, rows, device)
  local out, counted = { weights = 0, workspace = 0 }, {}
  for i, plan in ipairs(pass_runner.plans(s)) do
    out.weights = out.weights + plan:weight_bytes(counted, device)
    out.workspace, counted[i] = math.max(out.workspace, plan:arena_bytes(tokens, rows, device)), plan
  end
  return out
end

--- The devices that a model's passes run on, the first that ops without a place are on.
---@param s table
---@return string[]
function pass_runner.devices(s)
  local list, known = {}, {}
  for _, plan in ipairs(pass_runner.plans(s)) do
    for _, name in ipairs(plan:devices()) do
      if not known[name] then list[#list + 1], known[name] = name, true end
    end
  end
  return list
end

-- Hooks of a model, in the order they were added, and after them who watches its marks. Gives what to put in a
-- tensor's place, or nil.
local function hook_of(hooks, watch)
  if #hooks == 0 then return watch end
  return function(path, t)
    local replaced
    for _, hook in ipairs(hooks) do
      if hook.paths[path] then
        local changed = hook.call(replaced or t, path)
        if changed ~= nil then replaced = changed end
      end
    end
    local changed = watch and watch(path, replaced or t)
    if changed ~= nil then return changed end
    return replaced
  end
end

-- Paths that hooks see; those that are computed for them alone are computed then.
local function looked_at(s, watch)
  if watch then return (pass_runner.paths(s)) end
  local list = {}
  for _, hook in ipairs(s.hooks) do for path in pairs(hook.paths) do list[#list + 1] = path end end
  return list
end

-- The family's passes, line by line.
local function write_all(m, s, run, observe)
  local lines = { axes = s.c.axes, config = s.c, outliers = s.outliers, hook = hook_of(s.hooks, observe and observe.mark),
    looked_at = looked_at(s, observe and observe.mark) }
  local pass, entry = run:next(s.checkpoint, lines)
  while pass do
    passes.write(s.family, pass, entry, s.head, observe)
    pass:finish()
    pass, entry = run:next(s.checkpoint, lines)
  end
end

--- Runs the entry that a batch goes through, a source's before it. `work`: { entry= (default: the
--- batch's own), batch=, source=, rows=, caches=, paths={ encode=, cross=, main= }, adapters= (numbers, of the rows or one) }.
---@param m table
---@param work table
---@return table results by name and path
---@return table encoded the source's with those of cross, empty without one
---@return Batch|nil answered the batch, where the pass made rows of another length: it knows them
---@return Batch|nil answered_source the same of the source
function pass_runner.run(m, work)
  local s = rawget(m, "state_")
  local paths = work.paths or {}
  local plans = { main = pass_runner.plan(s, work.entry or pass_runner.entry_for(s, work.batch), paths.main) }
  if work.source then
    plans.encode = pass_runner.plan(s, "encode", paths.encode)
    plans.cross = s.family.cross and pass_runner.plan(s, "cross", paths.cross) or nil
  end
  local o = { source = work.source, rows = work.rows, caches = work.caches, lengths = work.lengths, adapters = work.adapters, cache = pass_runner.pool(s) }
  local observe = rawget(m, "observe_")
  if not rawget(m, "eager_") and #s.hooks == 0 and not observe then return core.execute(plans, work.batch, o) end
  ranks.refuse(s, "forward", "hooks and line by line are for one process")
  local run = core.eager(plans, work.batch, o)
  progress.as_one_call(write_all, m, s, run, observe)
  return run:results()
end

--- The same model, run line by line, with every product with a stored matrix told to `observe`.
---@param m table
---@param observe table as observed_net takes it; or { wrap= (the scope that the family gets), mark=function(path, t) → t|nil }
---@return table
function pass_runner.observed(m, observe)
  local copy = {}
  for key, value in pairs(m) do copy[key] = value end
  copy.observe_ = observe
  return setmetatable(copy, getmetatable(m))
end

--- Whether core's engine has to write the passes of a model line by line: somebody looks at what they compute.
---@param m table
---@return boolean
function pass_runner.written(m) return #rawget(m, "state_").hooks > 0 or rawget(m, "observe_") ~= nil end

--- What writes the passes of core's engine line by line, for a model that has hooks.
---@param m table
---@return fun(run: userdata)
function pass_runner.writer(m)
  local s = rawget(m, "state_")
  ranks.refuse(s, "generate", "hooks and line by line are for one process")
  return function(run) progress.as_one_call(write_all, m, s, run, rawget(m, "observe_")) end
end

--- What is known of a device that is in use.
---@param name string
---@return table
function pass_runner.device(name)
  for _, device in ipairs(core.devices()) do
    if device.name == name then return device end
  end
end

--- All canonical paths of a model's passes, in the order they are computed.
---@param s table
---@return string[]
---@return table<string, string> entry by path
function pass_runner.paths(s)
  local list, entry_of = {}, {}
  for _, entry in ipairs(s.family.entries) do
    for _, path in ipairs(pass_runner.program(s, entry):marks()) do
      if not entry_of[path] then
        entry_of[path] = entry
        list[#list + 1] = path
      end
    end
  end
  return list, entry_of
end

return pass_runner
