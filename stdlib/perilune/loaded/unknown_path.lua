-- What to say of a path that no pass computes.
local core = require "perilune.core"
local path_pattern = require "perilune.base.path_pattern"

-- "layers.9.mlp" where the layers end at 5: the range says more than the nearest name.
local function out_of_range(path, all)
  local before, number = path:match "^(.-layers%.)(%d+)"
  if not number then return nil end
  local first, last = math.huge, -1
  for _, known in ipairs(all) do
    if known:sub(1, #before) == before then
      local n = tonumber(known:sub(#before + 1):match "^%d+")
      if n then first, last = math.min(first, n), math.max(last, n) end
    end
  end
  if last < 0 or tonumber(number) <= last then return nil end
  return ("%s go from %d to %d"):format(before:sub(1, -2), first, last)
end

-- "layers.*.mlp" where paths begin with "encoder.": the pattern with that in front of it.
local function below_a_prefix(pattern, all)
  for _, known in ipairs(all) do
    local prefix = known:match "^(%a+%.)"
    if prefix and path_pattern.exact(prefix .. pattern)(known) then return prefix .. pattern end
  end
  return nil
end

--- A hint: the range of the layers, the nearest path, or where they are listed.
---@param path any
---@param all string[]
---@return string
return function(path, all)
  local list = "m:paths() lists them all"
  if type(path) ~= "string" then return list end
  local range = out_of_range(path, all)
  if range then return range end
  if path:find("*", 1, true) then
    local below = below_a_prefix(path, all)
    if below then return ("did you mean %q? "):format(below) .. list end
    return "a star is one component, such as layers.*.mlp; " .. list
  end
  local near = core.did_you_mean(path, all)
  return (near and near .. " " or "") .. list
end
