-- Where a pass stops: at paths, at ops, where an expression is true.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local path_pattern = require "perilune.base.path_pattern"

local breakpoints = {}

local function any_of(list, test)
  for _, one in ipairs(list) do if test(one) then return true end end
  return false
end

--- Reads "layers.3.attention", "linear", "where x:has_nan()".
---@param text string
---@param known { paths: string[], modules: string[], ops: string[] }
---@return table breakpoint { text=, where= (a compiled expression) | test= }
function breakpoints.read(text, known)
  local expression = text:match "^where%s+(.*)$"
  if expression then
    local chunk, err = loadstring("return " .. expression, "=break")
    if not chunk then raise("argument", "break", (err:gsub("^break:%d+: ", "")), "after where stands an expression about the locals and t") end
    return { text = text, where = chunk, heard = 0 }
  end
  local test = path_pattern.exact(text)
  if not any_of(known.paths, test) and not any_of(known.ops, test) and not any_of(known.modules, test) then
    raise("argument", "break", ("no tensor, module or op is called %s"):format(options.show(text)),
      core.did_you_mean(text, known.paths) or core.did_you_mean(text, known.ops) or "m:paths() lists tensors; ops are linear, rms_norm, …")
  end
  return { text = text, test = test }
end

--- Whether a place is one of a breakpoint. An expression about a name that is not there yet is not true.
---@param one table
---@param place table { op=, path=, module=, canonical= }
---@param environment table of the place
---@return boolean
function breakpoints.holds(one, place, environment)
  if one.test then
    local named = place.op == "mark" and place.path or place.module
    return one.test(place.op) or named ~= nil and one.test(named) or place.canonical ~= nil and one.test(place.canonical)
  end
  local fine, value = pcall(setfenv(one.where, environment))
  if fine then one.heard, one.problem = one.heard + 1, nil elseif one.heard == 0 then one.problem = tostring(value) end
  return fine and value ~= nil and value ~= false
end

return breakpoints
