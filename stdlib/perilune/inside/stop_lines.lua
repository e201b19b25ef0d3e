-- One line at a stop, without a session: a command of the stop, or Lua about the locals of the family.
local raise = require "perilune.base.raise"
local names_of = require "perilune.base.names_of"
local show = require "perilune.show.show"
local core = require "perilune.core"
local stop_commands = require "perilune.inside.stop_commands"

local stop_lines = {}

--- Runs a command such as ":break layers.3.mlp", or a line of Lua; what it gives is said.
---@param d table the debugging
---@param line string
function stop_lines.run(d, line)
  local name, rest = line:match "^%s*:(%S+)%s*(.-)%s*$"
  if name then
    local command = stop_commands.commands[name]
    if not command then
      raise("argument", "debug", "no command at a stop is called :" .. name, core.did_you_mean(name, names_of(stop_commands.commands)))
    end
    return command.run(d, rest, name)
  end
  local chunk, err = loadstring("return " .. line, "=line")
  if not chunk then chunk, err = loadstring(line, "=line") end
  if not chunk then raise("argument", "debug", err) end
  local value = setfenv(chunk, d:environment(d.place))()
  if value ~= nil then d:say(show.show(value)) end
end

return stop_lines
