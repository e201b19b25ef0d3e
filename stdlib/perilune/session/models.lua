-- The model that a command is about where nobody says which: the only one that has a name.
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"

local models = {}

--- The model that the session's names hold, if there is one only.
---@param session table
---@param op string the command
---@return Model
function models.only(session, op)
  local found, names, seen = nil, {}, {}
  for name, value in pairs(_G) do
    if kind.of(value) == "Model" and not tostring(name):find "^_" and not session.initial[name] and not rawget(value, "state_").closed then
      names[#names + 1] = name
      if not seen[rawget(value, "state_")] then
        seen[rawget(value, "state_")] = true
        seen.count, found = (seen.count or 0) + 1, value
      end
    end
  end
  table.sort(names)
  if seen.count == 1 then return found end
  if not found then raise("state", op, "no model has a name yet", 'm = pl.load "scripts/models/tales"') end
  return raise("argument", op, "several models have names: " .. table.concat(names, ", "), (":%s %s, …"):format(op, names[1]))
end

return models
