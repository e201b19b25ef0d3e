-- Commands that say what a session holds.
local core = require "perilune.core"
local columns = require "perilune.base.columns"
local byte_count = require "perilune.base.byte_count"
local kind = require "perilune.base.kind"
local show = require "perilune.show.show"

local workspace = {}

-- Names of the session and their values, sorted; `_`, `_1`, … are results and no names.
local function names_of(session)
  local names = {}
  for name in pairs(_G) do
    if not session.initial[name] and not tostring(name):find "^_%d*$" then names[#names + 1] = name end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

-- Where a value lies: a tensor's device, a model's devices; "" for what is Lua's.
local function device_of(value)
  local fine, device = pcall(function()
    if core.type(value) == "Tensor" then return tostring(value.device) end
    if kind.of(value) == "Model" then return type(value.device) == "string" and value.device or tostring(value.device) end
    return ""
  end)
  return fine and device or ""
end

function workspace.whos(session)
  local names, rows, sums, devices = names_of(session), {}, {}, {}
  for i, name in ipairs(names) do
    local what, bytes = show.summary(_G[name])
    local device = device_of(_G[name])
    rows[i] = { tostring(name), bytes and byte_count.text(bytes) or "", device, what }
    if device ~= "" and bytes then
      if not sums[device] then devices[#devices + 1] = device end
      sums[device] = (sums[device] or 0) + bytes
    end
  end
  if #rows > 0 then print((columns.text(rows):gsub("%s+$", ""))) end
  local parts = { #names .. (#names == 1 and " name" or " names") }
  for _, device in ipairs(devices) do parts[#parts + 1] = ("%s on %s"):format(byte_count.text(sums[device]), device) end
  if session.results.bytes > 0 then parts[#parts + 1] = byte_count.text(session.results.bytes) .. " in _1, _2, …" end
  print(table.concat(parts, "; "))
end

function workspace.mem(session)
  local rows = { { "device", "used", "peak", "free", "memory" } }
  for _, device in ipairs(core.devices()) do
    local row = { device.name }
    for i, field in ipairs { "used", "peak", "free", "memory" } do row[i + 1] = device[field] and byte_count.text(device[field]) or "" end
    rows[#rows + 1] = row
  end
  print((columns.text(rows):gsub("%s+$", "")))
  for _, name in ipairs(names_of(session)) do
    if kind.of(_G[name]) == "Model" then
      local fine, memory = pcall(_G[name].memory, _G[name])
      if fine then print(("%s: weights %s, caches %s"):format(name, byte_count.text(memory.weights), byte_count.text(memory.cache))) end
    end
  end
  print(("Lua: %s"):format(byte_count.text(collectgarbage "count" * 1024)))
end

return workspace
