-- The model that a command is about where nobody says which: the only one that has a name, or, where the last forward is
-- what is asked about, the one that ran it.
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"

local models = {}

-- Of the model whose forward was the last: its number, 0 without one.
local function last_forward(m)
  local last = rawget(m, "state_").last_forward
  return last and last.number or 0
end

--- The model that the session's names hold, if there is one only.
---@param session table
---@param op string the command
---@param last_run boolean|nil whether it is about the last forward
---@return Model
function models.only(session, op, last_run)
  local found, names, seen = nil, {}, {}
  for name, value in pairs(_G) do
    if kind.of(value) == "Model" and not tostring(name):find "^_" and not session.initial[name] and not rawget(value, "state_").closed then
      names[#names + 1] = name
      if not seen[rawget(value, "state_")] then
        seen[rawget(value, "state_")] = true
        seen.count = (seen.count or 0) + 1
        if not found or last_forward(value) > last_forward(found) then found = value end
      end
    end
  end
  table.sort(names)
  if seen.count == 1 or last_run and found and last_forward(found) > 0 then return found end
  if not found then raise("state", op, "no model has a name yet", 'm = pl.load "scripts/models/tales"') end
  return raise("argument", op, "several models have names: " .. table.concat(names, ", "), (":%s %s, …"):format(op, names[1]))
end

return models
