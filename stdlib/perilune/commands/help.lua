-- perilune help: the verbs, or one of them.
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"
local named = require "perilune.help.help"
local topics = require "perilune.help.topics"

local help = {
  summary = "what the program can do",
  usage = "perilune help [VERB | NAME | TOPIC | TASK]",
}

local function overview(verbs)
  local rows = {}
  for _, name in ipairs(verbs.names) do rows[#rows + 1] = { "  perilune " .. name, verbs.get(name).summary } end
  return "Perilune runs transformer models from Lua.\n\n"
    .. command_line.columns {
      { "  perilune", "talk to the engine line by line" },
      { "  perilune FILE.lua ARGS…", "run a script" },
      { "  perilune -e CODE", "run a line of Lua" },
      { "  perilune --strict …", "any of these; a global that nobody assigned is an error" },
      { "  perilune --bytecode FILE ARGS…", "run a script that was compiled: trusted, since it can do anything" },
      { "  perilune --version", "what this build is" },
      { "  perilune --licenses", "whose work is in it, under which terms" },
    } .. "\n\n" .. command_line.columns(rows)
    .. "\n\nperilune help VERB, or perilune VERB --help, says more about one;"
    .. " perilune help pl.load,\nor any other name of the library, what that does. Topics: "
    .. table.concat(topics.names, ", ") .. "\n"
end

function help.run(_, arguments, verbs)
  if arguments[1] == "topics" then
    for _, name in ipairs(topics.names) do print(name) end
    return command_line.ok
  end
  if not arguments[1] then
    io.write(overview(verbs))
    return command_line.ok
  end
  local fine, verb = pcall(verbs.get, arguments[1])
  if not fine and (topics.text(arguments[1]) or #named.find(arguments[1]) > 0) then   -- a topic, or a name
    print(named.text(arguments[1]))
    return command_line.ok
  end
  if not fine then
    local known = { unpack(verbs.names) }
    for _, name in ipairs(topics.names) do known[#known + 1] = name end
    local near = core.did_you_mean(arguments[1], known)
    io.stderr:write("perilune help: ", near and ('nothing is called "%s"; %s'):format(arguments[1], near) or named.text(arguments[1]), "\n")
    return command_line.wrong_usage
  end
  io.write(command_line.help_text(arguments[1], verb))
  return command_line.ok
end

return help
