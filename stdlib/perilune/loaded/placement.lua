-- device_map = "auto" | "balanced" | "sequential": parts of a model onto devices by what they take there.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local byte_count = require "perilune.base.byte_count"

local placement = {}

local planned_tokens = 2048   -- of keys and values that a place is chosen for

-- What parts take together on a device: each weight once.
local function new_load(device, tokens)
  local load = { device = device, bytes = device.workspace, empty = true, held = {} }
  function load.with(part)
    local sum = load.bytes + part.cache * tokens
    for path, bytes in pairs(part.weights) do sum = sum + (load.held[path] and 0 or bytes) end
    return sum
  end
  function load.add(part)
    load.bytes, load.empty = load.with(part), false
    for path in pairs(part.weights) do load.held[path] = true end
  end
  return load
end

-- Parts in their order onto devices in theirs, each up to its target. The last device takes the rest.
local function fill(devices, targets, tokens)
  local loads, at, of = { new_load(devices[1], tokens) }, 1, {}
  for i = 1, #devices[1].parts do
    while at < #devices and loads[at].with(devices[at].parts[i]) > targets[at] do
      at = at + 1
      loads[at] = new_load(devices[at], tokens)
    end
    loads[at].add(devices[at].parts[i])
    of[i] = at
  end
  local fits = true
  for i, load in ipairs(loads) do fits = fits and (load.empty or load.bytes <= devices[i].budget) end
  return of, loads, fits
end

local function budgets(devices)
  local list = {}
  for i, device in ipairs(devices) do list[i] = device.budget end
  return list
end

-- Equal shares of the accelerators; the CPU takes what does not fit them.
local function shares(devices, tokens)
  local count, total, largest = 0, 0, 0
  for _, device in ipairs(devices) do count = count + (device.name ~= "cpu" and 1 or 0) end
  if count == 0 then return budgets(devices) end
  local whole = new_load(devices[1], tokens)
  for _, part in ipairs(devices[1].parts) do
    local before = whole.bytes
    whole.add(part)
    total, largest = total + whole.bytes - before, math.max(largest, whole.bytes - before)
  end
  local list = {}
  for i, device in ipairs(devices) do
    local share = device.name == "cpu" and 0 or total / count + largest / 2 + device.workspace
    list[i] = math.min(device.budget, share)
  end
  return list
end

local function alone(devices, tokens)
  for i, device in ipairs(devices) do
    local load = new_load(device, tokens)
    for _, part in ipairs(device.parts) do load.add(part) end
    if load.bytes <= device.budget then return i, load end
  end
end

local function refuse(how, devices, loads, path)
  local words = {}
  for i, load in ipairs(loads) do
    words[i] = ("%s needs %s of %s"):format(devices[i].name, byte_count.text(load.bytes), byte_count.text(devices[i].budget))
  end
  raise("memory", "load", ('%s does not fit: device_map="%s" puts it so that %s'):format(path, how, table.concat(words, ", ")),
    "give more max_memory or more devices, take a smaller model, or try with allow_oversize = true")
end

--- Chooses a device for every part.
---@param how string "auto": one device where it fits, else as "sequential": each filled before the next; "balanced": equal shares
---@param devices table[] in order: { name=, budget=, workspace=, parts={ { path=, weights={ path → bytes }, cache= }, … } }, the same parts
---@param most_tokens integer|nil positions of the model
---@param path string of the model, for messages
---@param oversize boolean|nil what does not fit is placed anyway
---@return table<string, table> chosen path → { device=, why= }
function placement.choose(how, devices, most_tokens, path, oversize)
  local tokens, chosen = math.min(most_tokens or planned_tokens, planned_tokens), {}
  local one, load = nil, nil
  if how == "auto" then one, load = alone(devices, tokens) end
  if one then
    local why = ("all of it fits: %s of %s"):format(byte_count.text(load.bytes), byte_count.text(devices[one].budget))
    for _, part in ipairs(devices[one].parts) do chosen[part.path] = { device = devices[one].name, why = why } end
    return chosen
  end
  local of, loads, fits = fill(devices, how == "balanced" and shares(devices, tokens) or budgets(devices), tokens)
  if how == "balanced" and not fits then of, loads, fits = fill(devices, budgets(devices), tokens) end
  if not fits and not oversize then refuse(how, devices, loads, path) end
  for i, part in ipairs(devices[1].parts) do
    local there = loads[of[i]]
    chosen[part.path] = { device = devices[of[i]].name,
      why = ("%s: %s of %s there"):format(how, byte_count.text(there.bytes), byte_count.text(devices[of[i]].budget)) }
  end
  return chosen
end

--- The devices to choose among, by name: those that max_memory names, else the given one and the CPU, else every GPU and
--- the CPU. The CPU comes last.
---@param limits table<string, integer>|nil
---@param standard string|nil
---@return string[]
function placement.candidates(limits, standard)
  local names, known = {}, {}
  local function add(name)
    name = core.device(name)
    if not known[name] then names[#names + 1], known[name] = name, true end
  end
  if limits then
    for name in pairs(limits) do add(name) end
  elseif standard then
    add(standard)
    add "cpu"
  else
    for _, device in ipairs(core.devices()) do
      if device.kind ~= "emulator" then add(device.name) end
    end
  end
  table.sort(names, function(a, b)
    if (a == "cpu") ~= (b == "cpu") then return b == "cpu" end
    return a < b
  end)
  return names
end

return placement
