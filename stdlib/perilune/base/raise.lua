-- Errors of the standard library: error tables like the engine's, at the caller's line.
local core = require "perilune.core"

--- Raises an error table.
---@param code string an error code: "argument", "option", "shape", "format", "pairing", …
---@param op string the operation, as scripts call it
---@param message string what is wrong, with the operands
---@param hint string|nil what to do about it
local function raise(code, op, message, hint)
  return core.error { code = code, op = op, message = message, hint = hint, level = 1 }
end

return raise
