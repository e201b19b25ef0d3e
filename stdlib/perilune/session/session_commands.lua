-- Lines that start with a colon or a question mark.
local core = require "perilune.core"
local names_of = require "perilune.base.names_of"
local show = require "perilune.show.show"
local byte_count = require "perilune.base.byte_count"

local session_commands = {}

local commands = {}

--- Commands by name: { text=, run=function(session, rest) → false to leave }.
session_commands.commands = commands

commands.help = { usage = ":help [NAME]", text = "this list, or what a name does", run = function(_, rest)
  if rest ~= "" then
    print(require("perilune.help.help").text(rest))
    return
  end
  print "Type Lua: an expression prints its value, ; at the end mutes it, _ is the last value."
  print "Names that `local` introduces stay for the session. pl is the library: ?pl lists it."
  print "  ?NAME          what a function, method, field or type does: ?pl.load, ?m:generate, ?Tensor"
  print "  ??NAME         where it is defined"
  print "  m:debug(input) a forward pass that stops at every named tensor"
  for _, name in ipairs(names_of(commands)) do print(("  %-14s %s"):format(commands[name].usage, commands[name].text)) end
  print "  :VERB ARGS     runs a verb of the program, such as :check MODEL"
  print "Keys: Tab completes, Ctrl-C stops what runs or drops the line, Ctrl-R searches, Ctrl-D leaves."
end }

commands.quit = { usage = ":quit", text = "leave", run = function() return false end }

commands.time = { usage = ":time LUA", text = "run it and say how long it took", run = function(session, rest)
  local chunk, err = loadstring("return " .. rest, "=line")
  if not chunk then chunk, err = loadstring(rest, "=line") end
  if not chunk then return session:report { value = err, trace = "" } end
  local start = core.clock()
  session:run(chunk)
  print(("%.3f ms"):format(1000 * (core.clock() - start)))
end }

commands.whos = { usage = ":whos", text = "your names, what they hold and how many bytes", run = function(session)
  local rows, total = {}, 0
  for name, value in pairs(_G) do
    if not session.initial[name] and name ~= "_" then
      local what, bytes = show.summary(value)
      rows[#rows + 1] = { name, what, bytes }
      total = total + (bytes or 0)
    end
  end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  for _, row in ipairs(rows) do print(("%-16s %12s  %s"):format(row[1], row[3] and byte_count.text(row[3]) or "", row[2])) end
  local memory = core.memory()
  print(("%d names; tensors hold %s now, %s at most so far"):format(#rows, byte_count.text(memory.used), byte_count.text(memory.peak)))
end }

commands.load = { usage = ":load FILE", text = "run a Lua file in this session", run = function(session, rest)
  local chunk, err = loadfile(rest)
  if not chunk then return session:report { value = err, trace = "" } end
  session:run(chunk)
end }

commands.trace = { usage = ":trace", text = "where the last error came from", run = function(session)
  print(session:last_trace() or "no error yet")
end }

-- Words of a command line; quotes keep spaces.
local function words_of(text)
  local words, at = {}, 1
  while true do
    at = text:find("%S", at)
    if not at then return words end
    local quote, word = text:match('^(["\'])(.-)%1', at)
    if quote then
      at = at + #word + 2
    else
      word = text:match("^%S+", at)
      at = at + #word
    end
    words[#words + 1] = word
  end
end

local function run_command(session, text)
  local name, rest = text:match "^:%s*(%S*)%s*(.*)$"
  if name == "" or name == "?" then name = "help" end
  if name == "q" then name = "quit" end
  local command = commands[name]
  if command then return command.run(session, rest) end
  local verbs = require "perilune.commands"
  local known = names_of(commands)
  for _, verb in ipairs(verbs.names) do
    if verb == name then
      if name == "chat" then
        print("A conversation has its own lines: run it as `perilune chat " .. (rest ~= "" and rest or "MODEL") .. "`.")
      else
        verbs.run(name, words_of(rest))
      end
      return
    end
    known[#known + 1] = verb
  end
  local near = core.nearest(name, known)
  session:report { value = "no command is called :" .. name .. (near and "; did you mean :" .. near .. "?" or "; :help lists them"), trace = "" }
end

local function run_question(text, session)
  local help = require "perilune.help.help"
  local where, name = text:match "^%?(%??)%s*(.-)%s*$"
  name = name:gsub("%(.*$", "")
  print(where == "?" and help.source(name, session) or help.text(name, session))
end

--- Runs such a line.
---@param session table
---@param text string
---@return boolean goes_on
function session_commands.run(session, text)
  local fine, result = xpcall(function()
    if text:sub(1, 1) == "?" then return run_question(text, session) end
    return run_command(session, text)
  end, function(raised)
    return { value = raised, trace = type(raised) == "table" and rawget(raised, "traceback") or debug.traceback("", 2) }
  end)
  if not fine then
    session:report(result)
    return true
  end
  return result ~= false
end

return session_commands
