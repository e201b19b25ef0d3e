-- Lines that start with a colon or a question mark: found in the table of commands, and run.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local command_table = require "perilune.session.command_table"
local errors = require "perilune.session.errors"

local session_commands = {}

--- The row of a command, by its name or another one of its names; nil for none.
---@param name string
---@return table|nil
function session_commands.find(name)
  for _, section in ipairs(command_table) do
    for _, row in ipairs(section.rows) do
      if row.name == name then return row end
      for _, alias in ipairs(row.aliases or {}) do if alias == name then return row end end
    end
  end
  return nil
end

--- Names of all commands, and of the program's verbs, which are commands as well.
---@return string[]
function session_commands.names()
  local names = {}
  for _, section in ipairs(command_table) do for _, row in ipairs(section.rows) do names[#names + 1] = row.name end end
  for _, verb in ipairs(require("perilune.commands").names) do
    if not session_commands.find(verb) then names[#names + 1] = verb end
  end
  return names
end

--- ":load FILE".
---@param row table
---@return string
function session_commands.usage(row) return ":" .. row.name .. (row.arguments and " " .. row.arguments or "") end

local head = [[
Type Lua: an expression prints its value, ; at the end mutes it, _ is the last value, _1, _2, ... those of inputs.
Names that `local` introduces stay for the session. pl is the library: ?pl lists it.
  ?NAME                  what a function, method, field, type or topic is: ?pl.load, ?m:generate, ?masks
  ??NAME                 its source]]

local foot = [[
  :VERB ARGS             runs a verb of the program, such as :check MODEL
Keys: Tab completes, Ctrl-C stops what runs or drops the line, Ctrl-R searches, Ctrl-D leaves.]]

--- What `:help` prints.
---@return string
function session_commands.overview()
  local lines = { head }
  for _, section in ipairs(command_table) do
    lines[#lines + 1] = section.title
    for _, row in ipairs(section.rows) do lines[#lines + 1] = ("  %-22s %s"):format(session_commands.usage(row), row.help) end
  end
  lines[#lines + 1] = foot
  return table.concat(lines, "\n")
end

--- Words of a command line; quotes keep spaces.
---@param text string
---@return string[]
function session_commands.words(text)
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

--- Runs a verb of the program.
---@param name string
---@param rest string its arguments as typed
function session_commands.run_verb(name, rest)
  if name == "chat" then
    print("A conversation has its own lines: run it as `perilune chat " .. (rest ~= "" and rest or "MODEL") .. "`.")
  else
    require("perilune.commands").run(name, session_commands.words(rest))
  end
end

local function run_command(session, text)
  local name, rest = text:match "^:%s*(%S*)%s*(.-)%s*$"
  local row = session_commands.find(name == "" and "help" or name)
  if row then return require(row.where)[row.name](session, rest) end
  for _, verb in ipairs(require("perilune.commands").names) do
    if verb == name then return session_commands.run_verb(name, rest) end
  end
  local near = core.nearest(name, session_commands.names())
  session:report { value = "no command is called :" .. name .. (near and "; did you mean :" .. near .. "?" or "; :help lists them"), trace = "" }
end

local function run_question(text, session)
  local help = require "perilune.help.help"
  local where, name = text:match "^%?(%??)%s*(.-)%s*$"
  local row = session_commands.find(name:match "^:(.*)$" or "")
  if row then return print(session_commands.usage(row) .. "\n" .. row.help) end
  name = name:gsub("%(.*$", "")
  if where == "?" and name == "" then raise("argument", "source", "of what?", "??pl.load shows where it is and its source") end
  require("perilune.session.pager").show(session, where == "?" and help.source(name, session) or help.text(name, session))
end

--- Runs such a line.
---@param session table
---@param text string
---@return boolean goes_on
function session_commands.run(session, text)
  local fine, result = xpcall(function()
    if text:sub(1, 1) == "?" then return run_question(text, session) end
    return run_command(session, text)
  end, errors.handler)
  if not fine then
    session:report(errors.caught(result))
    return true
  end
  return result ~= false
end

return session_commands
