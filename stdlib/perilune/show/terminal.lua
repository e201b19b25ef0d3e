-- What the terminal can: how wide it is, which colours it has.
local core = require "perilune.core"

local terminal = {}

--- Columns of the terminal, or of a page where there is none.
---@return integer
function terminal.width()
  local _, columns = core.is_tty(1)
  return columns or tonumber(os.getenv "COLUMNS") or 96
end

--- "24bit", "256" or "ascii": by COLORTERM, TERM and NO_COLOR; what is no terminal gets no colours.
---@return string
function terminal.colours()
  local term, more = os.getenv "TERM" or "", os.getenv "COLORTERM" or ""
  if not core.is_tty(1) or os.getenv "NO_COLOR" or term == "" or term == "dumb" then return "ascii" end
  if more:find "truecolor" or more:find "24bit" then return "24bit" end
  return term:find "256" and "256" or "ascii"
end

return terminal
