-- m:debug at the prompt: at a stop lines are read as anywhere in the session, and see the family's locals.
local debugging = require "perilune.inside.debugging"
local kind = require "perilune.base.kind"
local looking = require "perilune.session.looking"
local models = require "perilune.session.models"
local stop_commands = require "perilune.inside.stop_commands"

local debugger = {}

local hint = ":step :next :continue :break :locals :up :where :rewind :fork :leave; t is what the op gave; :help lists them all"

--- Makes `m:debug` ask at this session's prompt.
---@param _ table the host
---@param session table
function debugger.install(_, session)
  local told = false
  debugging.host = { say = print, outer = setmetatable({}, {
    __index = function(_, name) return rawget(_G, name) end,
    __newindex = function(_, name, value) session.environment[name] = value end,
  }) }
  function debugging.host.ask(d)
    if not told then print(hint) end
    told = true
    local place = d.place
    local before = session.debugging
    session.debugging = d
    local fine, err = pcall(session.stay, session, { prompt = "debug> ",
      get = function(name) return d:known_name(place, name) end,
      set = function(name, value) return d:assign(place, name, value) end,
      names = function() return d:names(place) end,
    })
    session.debugging = before
    if not fine then error(err, 0) end
    if session.quitting or not d.going then d:leave() end
  end
end

--- :debug [MODEL,] [INPUT][, OPTIONS]: m:debug(input, options), of the only model that has a name where none is given, with
--- the input of the last forward.
---@param session table
---@param rest string
function debugger.debug(session, rest)
  local arguments, problem = session:compile("{ " .. rest .. " }")
  if not arguments then return session:report { value = problem, trace = "" } end
  session:run(function()
    local list = arguments()
    local m = kind.of(list[1]) == "Model" and table.remove(list, 1) or models.only(session, "debug", list[1] == nil)
    return m:debug(looking.input_of(m, list[1], "debug"), list[2])
  end)
end

for name, command in pairs(stop_commands.commands) do
  debugger[name] = function(session, rest)
    command.run(session.debugging, rest, name)
    if session.debugging and session.debugging.going then session:leave() end
  end
end

return debugger
