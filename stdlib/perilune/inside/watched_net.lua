-- The scope as families see it that tells what each of its calls gave, and lets it be replaced. For eager passes.

-- Calls that compute nothing; what `mark` names is told of by the pass itself.
local silent = { mark = true, has = true }

-- Calls that read a stored module, whose path is the first text they are given.
local modules = { linear = true, head = true, embedding = true, rms_norm = true, layer_norm = true, tensor = true, relative_bias = true }

local function below(scope, word) return scope == "" and word or scope .. "." .. word end

-- What a call was about: where it stands, and the module that it read, by its stored and by its canonical path.
local function place_of(net, op, ...)
  local place = { op = op, path = net.canonical ~= "" and net.canonical or net.path }
  for i = 1, modules[op] and select("#", ...) or 0 do
    local word = select(i, ...)
    if type(word) == "string" then
      place.path = below(net.path, word)
      place.module, place.canonical = place.path, below(net.canonical, word)
      return place
    end
  end
  return place
end

--- The scope, watched.
---@param net userdata
---@param after fun(place: table): any place = { op=, path=, module=, canonical=, t= (the result) }; what comes back takes the result's place unless it is nil
---@return table
local function watched_net(net, after)
  local function tell() return "Net " .. (net.path == "" and "(root)" or net.path) end
  return setmetatable({}, { __tostring = tell, __index = function(_, key)
    local value = net[key]
    if type(value) ~= "function" then return value end
    if key == "scope" then return function(_, ...) return watched_net(net:scope(...), after) end end
    if silent[key] then return function(_, ...) return value(net, ...) end end
    return function(_, ...)
      local result = value(net, ...)
      local place = place_of(net, key, ...)
      place.t = result
      local changed = after(place)
      if changed ~= nil then return changed end
      return result
    end
  end })
end

return watched_net
