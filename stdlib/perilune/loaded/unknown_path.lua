-- What to say of a path that no pass computes.
local core = require "perilune.core"

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

--- A hint: the range of the layers, the nearest path, or where they are listed.
---@param path any
---@param all string[]
---@return string
return function(path, all)
  local list = "m:paths() lists them all"
  if type(path) ~= "string" then return list end
  local range = out_of_range(path, all)
  if range then return range end
  if path:find("*", 1, true) then return "a star is one component, such as layers.*.mlp; " .. list end
  local near = core.did_you_mean(path, all)
  return (near and near .. " " or "") .. list
end
