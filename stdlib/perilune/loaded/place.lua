-- Where a model runs: what pl.load's options about devices come to, before a weight is read.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local byte_count = require "perilune.base.byte_count"
local pass_runner = require "perilune.loaded.pass_runner"
local device_map = require "perilune.loaded.device_map"
local placement = require "perilune.loaded.placement"
local ranks = require "perilune.loaded.ranks"

local place = {}

local hows = { auto = true, balanced = true, sequential = true }

local function read_limits(given)
  local limits = {}
  for name, value in pairs(given or {}) do
    local bytes = byte_count.read(value)
    if type(name) ~= "string" or not bytes then
      raise("option", "load", ("option max_memory: expected bytes by device, got %s for %s"):format(options.show(value), options.show(name)),
        'for instance { ["cuda:0"] = "20G", cpu = "30G" }')
    end
    limits[core.device(name)] = bytes
  end
  return limits
end

-- Keys and values in halves are as exact as rounded products ask for.
local cache_dtype = { f32 = "f32", bf16 = "bf16", int8 = "f16" }

-- The arithmetic and the type of keys and values: as all of these devices are fast at it, and codes as they are where
-- one of them can multiply them (the others widen theirs) and their publishers round activations too.
local function choose_compute(s, o, names)
  local blocks = s.checkpoint.main_blocks
  if o.compute == "int8" and not blocks then
    raise("unsupported", "load", ('compute="int8" multiplies weights of few bits, those of %s are %s'):format(s.path,
      s.checkpoint.main_dtype), 'take a quantized file, or compute="bf16"')
  elseif o.compute == "int8" and s.checkpoint.float_levels then
    raise("unsupported", "load", ('compute="int8" multiplies whole numbers, %s means levels between them'):format(blocks),
      'compute="f32" (which "auto" takes) and "bf16" look them up')
  end
  s.compute = o.compute
  if s.compute == nil or s.compute == "auto" then
    local fast, coded = s.checkpoint.main_dtype == "bf16", false
    for _, name in ipairs(names) do
      local device = pass_runner.device(name)
      fast, coded = fast and device.fast_bf16, coded or device.coded
    end
    s.compute = blocks and coded and not s.checkpoint.weight_only and "int8" or fast and "bf16" or "f32"
  end
  if s.outliers and s.compute ~= "int8" then
    raise("option", "load", ('option outliers: they are multiplied apart where products are computed in int8, %s computes in %s'):format(s.path,
      s.compute), 'take quantize="int8", or compute="int8" with a file of few bits')
  end
  s.cache_dtype = o.cache or cache_dtype[s.compute]
  for _, name in ipairs(s.cache_dtype == "int8" and names or {}) do
    if name ~= "cpu" then
      raise("unsupported", "load", ('cache="int8" is for the CPU, %s keeps floats'):format(name), 'use "f32", "f16" or "bf16"')
    end
  end
end

local function plan_on(s, entry, device)
  return core.plan(pass_runner.program(s, entry), { compute = s.compute, cache_dtype = pass_runner.stored_as(s), device = device,
    threads = s.threads })
end

local function parts_by_entry(s, device)
  local parts = {}
  for _, entry in ipairs(s.family.entries) do parts[entry] = plan_on(s, entry, device):parts() end
  return parts
end

-- The parts of all entries, each once, in the order they are first computed.
local function merged(s, parts)
  local list, known = {}, {}
  for _, entry in ipairs(s.family.entries) do
    for _, part in ipairs(parts[entry]) do
      local row = known[part.path]
      if not row then
        row = { path = part.path, device = part.device, weights = {}, cache = 0 }
        list[#list + 1], known[part.path] = row, row
      end
      row.cache = row.cache + part.cache
      for path, bytes in pairs(part.weights) do row.weights[path] = bytes end
    end
  end
  return list
end

-- What a device would take of a model, and has room for.
local function measured(s, name, limits)
  local workspace = 0
  for _, entry in ipairs(s.family.entries) do workspace = math.max(workspace, plan_on(s, entry, name):arena_bytes(512, 16)) end
  local free = pass_runner.device(name).free
  local budget = math.min(limits[name] or math.huge, free and free > 0 and free or math.huge)
  return { name = name, budget = budget, workspace = workspace, parts = merged(s, parts_by_entry(s, name)) }
end

local function by_size(s, o, standard)
  local names = placement.candidates(next(s.limits) and s.limits or nil, standard)
  choose_compute(s, o, names)
  local devices = {}
  for i, name in ipairs(names) do devices[i] = measured(s, name, s.limits) end
  local chosen = placement.choose(o.device_map, devices, s.c.max_tokens, s.path, o.allow_oversize)
  s.placed, s.device = device_map.by_part(parts_by_entry(s, "cpu"), chosen), chosen[devices[1].parts[1].path].device
  return chosen
end

local function by_table(s, o, standard)
  local chosen
  choose_compute(s, o, {})
  s.placed, chosen, s.device = device_map.by_table(o.device_map, parts_by_entry(s, "cpu"),
    function() return core.device(standard or "auto") end)
  return chosen
end

-- What is where, part by part, and modules that are elsewhere than their part.
local function rows(s, chosen)
  local parts, list, seen = {}, {}, {}
  for _, entry in ipairs(s.family.entries) do parts[entry] = pass_runner.plan(s, entry):parts() end
  for _, part in ipairs(merged(s, parts)) do
    local weights = 0
    for _, bytes in pairs(part.weights) do weights = weights + bytes end
    local own = chosen[part.path] or { device = part.device, why = "" }
    list[#list + 1], seen[part.path] = { path = part.path, device = own.device, weights = weights, cache = part.cache, why = own.why }, true
  end
  for path, own in pairs(chosen) do
    if not seen[path] then list[#list + 1] = { path = path, device = own.device, weights = 0, cache = 0, why = own.why .. ", part of the above" } end
  end
  return list
end

--- Chooses device, compute mode and the places of all modules: sets s.device, s.devices, s.placed, s.limits, s.compute,
--- s.cache_dtype and s.device_map.
---@param s table the model's state; its passes are traced
---@param o table options of pl.load
function place.model(s, o)
  s.limits = read_limits(o.max_memory)
  local standard = o.device or os.getenv "PERILUNE_DEVICE"
  if s.rank_model then standard = ranks.device(standard or "auto") end
  local chosen = {}
  if o.device_map == nil then
    s.device = core.device(standard or "auto")
    choose_compute(s, o, { s.device })
  elseif type(o.device_map) == "table" then
    chosen = by_table(s, o, standard)
  elseif hows[o.device_map] then
    chosen = by_size(s, o, standard)
  else
    local near = core.nearest(o.device_map, { "auto", "balanced", "sequential" })
    raise("option", "load", ("option device_map: %s is not one of auto, balanced, sequential, and no table of patterns"):format(options.show(o.device_map)),
      near and ('did you mean "' .. near .. '"?') or nil)
  end
  s.plans = {}
  s.devices = pass_runner.devices(s)
  if #s.devices > 1 or o.device_map ~= nil then
    choose_compute(s, o, s.devices)
    s.plans = {}
  end
  if #s.devices > 1 then ranks.refuse(s, "load", "each of them is on one device, and " .. #s.devices .. " were asked for") end
  local list = rows(s, chosen)
  ranks.join(s, list)
  s.device_map = device_map.shown(list)
end

return place
