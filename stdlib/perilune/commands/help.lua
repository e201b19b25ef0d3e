-- perilune help: the verbs, or one of them.
local command_line = require "perilune.program.command_line"
local named = require "perilune.help.help"

local help = {
  summary = "what the program can do",
  usage = "perilune help [VERB | NAME]",
}

local function overview(verbs)
  local rows = {}
  for _, name in ipairs(verbs.names) do rows[#rows + 1] = { "  perilune " .. name, verbs.get(name).summary } end
  return "Perilune runs transformer models from Lua.\n\n"
    .. command_line.columns {
      { "  perilune", "talk to the engine line by line" },
      { "  perilune FILE.lua ARGS…", "run a script" },
      { "  perilune -e CODE", "run a line of Lua" },
      { "  perilune --version", "what this build is" },
    } .. "\n\n" .. command_line.columns(rows)
    .. "\n\nperilune help VERB, or perilune VERB --help, says more about one; perilune help pl.load,\nor any other name of the library, what that does.\n"
end

function help.run(_, arguments, verbs)
  if not arguments[1] then
    io.write(overview(verbs))
    return command_line.ok
  end
  local fine, verb = pcall(verbs.get, arguments[1])
  if not fine and #named.find(arguments[1]) > 0 then   -- a function, a method or a type
    print(named.text(arguments[1]))
    return command_line.ok
  end
  if not fine then
    io.stderr:write("perilune help: ", (tostring(verb):gsub("^perilune: ", "")), "\n")
    return command_line.wrong_usage
  end
  io.write(command_line.help_text(arguments[1], verb))
  return command_line.ok
end

return help
