-- The program's verbs by name, and how one is run. A verb is a file beside this one.
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"

local commands = {}

--- Names of all verbs, sorted.
---@type string[]
commands.names = { "advise", "bench", "chat", "check", "compare", "doctor", "get", "help", "lengths", "listen", "lock", "quantize", "run",
  "simulate" }

--- A verb's module; raises for an unknown one, naming the nearest.
---@param name string
---@return table
function commands.get(name)
  for _, known in ipairs(commands.names) do
    if known == name then return require("perilune.commands." .. name) end
  end
  local near = core.nearest(name, commands.names)
  core.error { code = "option", op = "perilune", level = 1,
    message = "no script and no verb is called \"" .. name .. "\"",
    hint = (near and "did you mean \"" .. near .. "\"? " or "") .. "verbs: " .. table.concat(commands.names, ", ") }
end

--- Runs a verb with its arguments.
---@param name string
---@param arguments string[]
---@return integer|table exit status: 0, 1 (it failed), 2 (wrong usage); or a session whose lines the program reads
function commands.run(name, arguments)
  local fine, verb = pcall(commands.get, name)
  if not fine then
    io.stderr:write("perilune: ", (tostring(verb):gsub("^perilune: ", "")), "\n")
    return command_line.wrong_usage
  end
  local parsed, options, rest = pcall(command_line.parse, verb, arguments)
  if not parsed then
    io.stderr:write("perilune ", name, ": ", (tostring(options):gsub("^perilune: ", "")), "\nusage: ", verb.usage, "\n")
    return command_line.wrong_usage
  end
  if options.help then
    io.stdout:write(command_line.help_text(name, verb))
    return command_line.ok
  end
  -- A value that an option may not have is the command line's mistake, wherever it is noticed.
  local done, status = xpcall(verb.run, function(raised)
    if type(raised) == "table" then return raised end
    return core.interrupted() and raised or debug.traceback(tostring(raised), 2)
  end, options, rest, commands)
  if done then return status or command_line.ok end
  if type(status) == "table" and status.code == "option" then
    io.stderr:write("perilune ", name, ": ", tostring(status), "\n")
    return command_line.wrong_usage
  end
  return error(status, 0)
end

return commands
