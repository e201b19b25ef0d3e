-- Globals that nobody set: reading one is a mistake worth a hint.
local core = require "perilune.core"
local names_of = require "perilune.base.names_of"

local strict = {}

--- Says that a global is not defined, with the nearest one that is.
---@param name any
---@return string
function strict.problem(name)
  local near = type(name) == "string" and #name > 1 and core.nearest(name, names_of(_G))
  return tostring(name) .. " is not defined" .. (near and "; did you mean " .. near .. "?" or "")
end

--- Makes reading a global that was never assigned an error, and assigning a new one anywhere but at the top of
--- a file: there a forgotten `local` shows. `rawget(_G, name)` and `rawset` stay free.
function strict.on()
  local assigned = {}
  setmetatable(_G, {
    __index = function(_, name)
      if not assigned[name] then error(strict.problem(name), 2) end
    end,
    __newindex = function(t, name, value)
      local info = debug.getinfo(2, "S")
      if not assigned[name] and info and info.what == "Lua" then
        error(tostring(name) .. " is not declared: write local, or assign it once at the top of the file", 2)
      end
      assigned[name] = true
      rawset(t, name, value)
    end,
  })
end

return strict
