-- A loaded model's programs, plans and cache pool, made when they are first needed, and one pass run
-- through them: compiled, or line by line when the model is eager or has hooks.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"
local passes = require "perilune.loaded.passes"
local family = require "perilune.loaded.family"

local runtime = {}

--- Raises unless a method of a class was called on one of its objects: with a colon.
---@param object any
---@param class string
---@param op string
function runtime.expect(object, class, op)
  if kind.of(object) ~= class then
    raise("argument", op, ("self: expected a %s, got %s"):format(class, kind.of(object) or type(object)),
      ("call methods with a colon: object:%s(...)"):format(op))
  end
end

--- A model's state, or an error when it was closed.
---@param m table
---@param op string
---@return table
function runtime.open(m, op)
  runtime.expect(m, "Model", op)
  local s = rawget(m, "state_")
  if s.closed then raise("state", op, "the model was closed: " .. s.path, "load it again") end
  return s
end

local function key_of(entry, head, rows) return entry .. "/" .. (head or "") .. "/" .. (rows or "") end

--- The program of an entry; `head` and `rows` for the main one.
---@param s table
---@param entry string
---@param head string|nil
---@param rows string|nil
---@return userdata
function runtime.program(s, entry, head, rows)
  local key = key_of(entry, head, rows)
  local program = s.programs[key]
  if not program then
    program = passes.trace(s.checkpoint, s.family, s.c, entry, head, rows)
    s.programs[key] = program
  end
  return program
end

--- The plan of an entry that gives back these canonical paths besides its outputs.
---@param s table
---@param entry string
---@param head string|nil
---@param rows string|nil
---@param paths string[]|nil
---@return userdata
function runtime.plan(s, entry, head, rows, paths)
  local key = key_of(entry, head, rows) .. "/" .. table.concat(paths or {}, " ")
  local plan = s.plans[key]
  if not plan then
    plan = core.plan(runtime.program(s, entry, head, rows),
      { compute = s.compute, cache_dtype = s.cache_dtype, device = s.device, threads = s.threads, outputs = paths or {} })
    s.plans[key] = plan
  end
  return plan
end

--- The plans that a model runs most: one an entry.
---@param s table
---@return userdata[]
function runtime.plans(s)
  local main, plans = passes.main_entry(s.family), {}
  if main ~= "encode" and s.family.encode then plans[1] = runtime.plan(s, "encode") end
  if s.family.cross then plans[#plans + 1] = runtime.plan(s, "cross") end
  plans[#plans + 1] = runtime.plan(s, main, s.head, s.family.decode and family.per_token[s.head] and "wanted" or "all")
  return plans
end

--- The pool that keys and values live in; nil for a model that keeps none.
---@param s table
---@param budget integer|nil bytes: a pool of its own
---@param own boolean|nil a pool of its own, of the usual size
---@return userdata|nil
function runtime.pool(s, budget, own)
  own = own or budget ~= nil
  if s.pool ~= nil and not own then return s.pool or nil end
  local main = passes.main_entry(s.family)
  local programs = {}
  if s.family.cross then programs[1] = runtime.program(s, "cross") end
  programs[#programs + 1] = runtime.program(s, main, s.head, s.family.decode and "wanted" or "all")
  local slots = 0
  for _, program in ipairs(programs) do slots = slots + program:kv_slots() end
  if slots == 0 then
    if not own then s.pool = false end
    return nil
  end
  local workspace = 0   -- of a step, which a device of its own keeps free
  if not budget and s.device ~= "cpu" then
    for _, plan in ipairs(runtime.plans(s)) do workspace = math.max(workspace, plan:arena_bytes(512, 16)) end
  end
  local pool = core.cache(programs, { dtype = s.cache_dtype, budget = budget, workspace = workspace, device = s.device })
  if not own then s.pool = pool end
  return pool
end

-- Hooks of a model: patterns are canonical paths; the last one added runs last.
local function hook_of(m)
  local hooks = rawget(m, "state_").hooks
  if #hooks == 0 then return nil end
  return function(path, t)
    local current = t
    for _, hook in ipairs(hooks) do
      if hook.path == path then
        local changed = hook.call(current)
        if changed ~= nil then current = changed end
      end
    end
    return current
  end
end

--- Runs one entry. `what`: { entry=, head=, rows= (program variant), paths=, wanted= (lists for
--- rows="wanted"), caches=, inputs= }.
---@param m table
---@param batch userdata
---@param what table
---@return table results by name
function runtime.run(m, batch, what)
  local s = rawget(m, "state_")
  local pool = runtime.pool(s)
  if rawget(m, "eager_") or #s.hooks > 0 then
    local pass = core.eager(s.checkpoint, batch, { entry = what.entry, axes = s.c.axes, config = s.c, compute = s.compute,
      cache_dtype = s.cache_dtype, caches = what.caches, cache = pool, inputs = what.inputs, hook = hook_of(m),
      keep = what.paths or {}, rows = what.wanted, device = s.device, threads = s.threads })
    passes.write(s.family, pass, what.entry, what.head, what.rows)
    local results = pass:finish(what.head or "")
    local kept = results.kept or {}
    results.kept = nil
    for path, t in pairs(kept) do results[path] = t end
    return results
  end
  local plan = runtime.plan(s, what.entry, what.head, what.rows, what.paths)
  return core.execute(plan, batch, { caches = what.caches, cache = pool, inputs = what.inputs, rows = what.wanted })
end

--- What is known of a device that is in use.
---@param name string
---@return table
function runtime.device(name)
  for _, device in ipairs(core.devices()) do
    if device.name == name then return device end
  end
end

--- All canonical paths of a model's passes, in the order they are computed.
---@param s table
---@return string[]
---@return table<string, string> entry by path
function runtime.paths(s)
  local list, entry_of = {}, {}
  local function add(entry, head, rows)
    for _, path in ipairs(runtime.program(s, entry, head, rows):marks()) do
      if not entry_of[path] then
        entry_of[path] = entry
        list[#list + 1] = path
      end
    end
  end
  local main = passes.main_entry(s.family)
  if main ~= "encode" and s.family.encode then add("encode") end
  add(main, s.head, "all")
  return list, entry_of
end

return runtime
