-- A conversation at a terminal or through a pipe: what a line does. The program reads the lines
-- (repl/), so Ctrl-C stops an answer and nothing else.
local core = require "perilune.core"
local turn_end = require "perilune.chat.turn_end"
local chat_template = require "perilune.chat.template"
local names_of = require "perilune.base.names_of"

local chat_session = {}

local Session = {}   -- no public class: the verb alone makes one
Session.__index = Session

-- New tokens of an answer where neither the caller nor the model's files say.
local default_new_tokens = 512

--- A conversation with a model.
---@param m Model
---@param settings table { system=, raw=, options= of m:stream, interactive= }
---@return table session
function chat_session.new(m, settings)
  local session = setmetatable({ model = m, raw = settings.raw, options = settings.options or {}, interactive = settings.interactive,
    system = settings.system, turns = {}, failed = false, answering = nil }, Session)
  if not session.raw then chat_template.choose(m.tokenizer.chat_templates, nil, false, "chat") end
  if session.interactive then
    print(("Talking to %s. /help lists commands, Ctrl-C stops an answer, Ctrl-D leaves."):format(m.path))
  end
  return session
end

--- What to ask for the next line with. Ctrl-C may have ended a line anywhere.
---@return string
function Session:prompt()
  self:settle()
  return "> "
end

--- A line that was dropped; nothing is kept of it.
function Session:drop() end

--- The exit status.
---@return integer
function Session:finish() return (self.failed and not self.interactive) and 1 or 0 end

-- For people, beside the conversation.
local function notice(text)
  io.stdout:flush()
  io.stderr:write("(", text, ")\n")
end

--- What failed, for people; the session goes on.
---@param raised any
function Session:report(raised)
  self.failed = true
  io.stdout:flush()
  local text = type(raised) == "table" and rawget(raised, "message") or tostring(raised)
  io.stderr:write("perilune chat: ", (text:gsub("^chat: ", "")), "\n")
end

-- ---------------------------------------------------------------- the prompt

--- The messages from a turn on, the system's first.
---@param from integer
function Session:messages(from)
  local list = {}
  if self.system and self.system ~= "" then list[1] = { role = "system", content = self.system } end
  for i = from, #self.turns do list[#list + 1] = self.turns[i] end
  return list
end

--- The ids of the conversation from a turn on.
---@param from integer
function Session:ids(from)
  local tokenizer = self.model.tokenizer
  if not self.raw then return tokenizer:ids(tokenizer:chat(self:messages(from)), { special = false }) end
  local texts = {}
  for _, message in ipairs(self:messages(from)) do texts[#texts + 1] = message.content end
  return tokenizer:ids(table.concat(texts, "\n"))
end

--- Room for the answer; less than asked for where the model has few positions.
function Session:new_tokens()
  local s = rawget(self.model, "state_")
  local wanted = self.options.max_new_tokens or s.generation_defaults.max_new_tokens or default_new_tokens
  local limit = self.model.max_tokens
  return limit and math.min(wanted, math.max(1, math.floor(limit / 2))) or wanted
end

--- Drops the oldest turns until the rest and an answer fit, and says so.
function Session:fitting_ids()
  local limit, room, dropped = self.model.max_tokens, self:new_tokens(), 0
  local ids = self:ids(1)
  while limit and #ids + room > limit and #self.turns > 1 do
    repeat
      table.remove(self.turns, 1)
      dropped = dropped + 1
    until #self.turns == 1 or self.turns[1].role == "user"
    ids = self:ids(1)
  end
  if dropped > 0 then
    notice(("the conversation no longer fits the model's %d positions: the oldest %d messages were dropped"):format(limit, dropped))
  end
  if limit and #ids >= limit then
    core.error { code = "length", op = "chat", level = 1, hint = "say it in fewer words",
      message = ("the message has %d tokens with what the template adds, the model has %d positions"):format(#ids, limit) }
  end
  return ids
end

-- ---------------------------------------------------------------- an answer

--- Streams the answer; its pieces are kept as they come, so that an interrupt loses none.
---@param ids integer[]
function Session:stream_answer(ids)
  local options = {}
  for key, value in pairs(self.options) do options[key] = value end
  options.max_new_tokens = self:new_tokens()
  if not self.raw then turn_end.add(options, self.model) end
  local stream = self.model:stream({ ids = ids }, options)
  for piece in stream do
    self.answering[#self.answering + 1] = piece
    io.write(piece)
    io.flush()
  end
  return stream:result()
end

--- Takes the answer, whole or not, into the conversation; an unanswered message leaves it.
function Session:settle()
  local pieces = self.answering
  if not pieces then return end
  self.answering = nil
  local text = table.concat(pieces)
  if text == "" then
    table.remove(self.turns)
    return
  end
  self.turns[#self.turns + 1] = { role = "assistant", content = text }
  if self.interactive or text:sub(-1) ~= "\n" then io.write "\n" end
  io.flush()
end

local endings = {
  length = function(result) return ("stopped after %d tokens; --max-new-tokens N allows more"):format(#result.ids) end,
  context = function() return "stopped at the model's last position" end,
}

local function is_interrupt(raised)
  local code = type(raised) == "table" and rawget(raised, "code")
  return code == "cancelled" or code == "interrupted" or tostring(raised):find "interrupted$" ~= nil
end

-- pcall, twice: an interrupt that ends a pass is raised once more by the first Lua code after it.
local function guarded(f)
  local kept, fine, result = pcall(function()
    local done, value = pcall(f)
    return done, value
  end)
  if not kept then return false, fine end
  return fine, result
end

--- Takes a message of the user and answers it.
---@param text string
function Session:ask(text)
  self.turns[#self.turns + 1] = { role = "user", content = text }
  self.answering = {}
  local fine, result = guarded(function() return self:stream_answer(self:fitting_ids()) end)
  if not fine and is_interrupt(result) then core.clear_interrupt() end
  self:settle()
  if not fine and not is_interrupt(result) then return self:report(result) end
  if not fine or result.finish_reason == "cancelled" then
    notice "stopped"
    self.failed, self.leaving = true, not self.interactive   -- nobody is there to go on
  elseif result.finish_reason == "error" then
    self:report(result.error)
  elseif endings[result.finish_reason] and self.interactive then
    notice(endings[result.finish_reason](result))
  end
end

-- ---------------------------------------------------------------- commands

local commands = {}

commands.help = { usage = "/help", text = "this list", run = function()
  for _, name in ipairs { "system", "reset", "save", "load", "help", "quit" } do
    print(("  %-14s %s"):format(commands[name].usage, commands[name].text))
  end
  print "A message that begins with / is typed with //."
end }

commands.quit = { usage = "/quit", text = "leave", run = function() return false end }

commands.reset = { usage = "/reset", text = "forget the conversation, keep what /system said", run = function(session)
  session.turns = {}
  if session.interactive then notice "a new conversation" end
end }

commands.system = { usage = "/system TEXT", text = "how to answer, from the next answer on; without TEXT: nothing special", run = function(session, rest)
  session.system = rest ~= "" and rest or nil
end }

commands.save = { usage = "/save FILE", text = "write the messages as JSON", run = function(session, rest)
  if rest == "" then core.error { code = "argument", op = "chat", message = "/save needs the name of a file", level = 1 } end
  core.write_file(rest, core.write_json(core.array(session:messages(1)), 2) .. "\n")
  if session.interactive then notice("saved to " .. rest) end
end }

commands.load = { usage = "/load FILE", text = "go on from messages that /save wrote", run = function(session, rest)
  local list = core.read_json(rest)
  local turns, system = {}, nil
  for i, message in ipairs(list) do
    if type(message) ~= "table" or type(message.role) ~= "string" or type(message.content) ~= "string" then
      core.error { code = "format", op = "chat", message = ("%s: message %d is not { role, content }"):format(rest, i), level = 1 }
    end
    if message.role == "system" then system = message.content else turns[#turns + 1] = { role = message.role, content = message.content } end
  end
  session.turns, session.system = turns, system
  if session.interactive then notice(("%d messages"):format(#turns)) end
end }

--- Runs a command such as /reset.
---@param text string
function Session:command(text)
  local name, rest = text:match "^/(%S*)%s*(.-)%s*$"
  local command = commands[name]
  if command then return command.run(self, rest) end
  local near = core.nearest(name, names_of(commands))
  return core.error { code = "argument", op = "chat", level = 1, message = "no command is called /" .. name,
    hint = near and ("did you mean /" .. near .. "?") or "/help lists them" }
end

--- Words that could stand at the end of a line: commands.
---@param text string
---@return integer start
---@return string[] words
---@return string suffix
function Session:complete(text)
  local words = {}
  local typed = text:match "^/(%a*)$"
  for _, name in ipairs(names_of(commands)) do
    if typed and name:sub(1, #typed) == typed then words[#words + 1] = "/" .. name end
  end
  return 1, words, " "
end

--- Says a line to the model, or runs a command.
---@param text string
---@return boolean goes_on false: the conversation ends
function Session:line(text)
  if not text:find "%S" then return true end
  if text:sub(1, 1) ~= "/" or text:sub(1, 2) == "//" then
    self:ask(text:sub(1, 2) == "//" and text:sub(2) or text)
    return not self.leaving
  end
  local fine, result = pcall(self.command, self, text)
  if not fine then self:report(result) end
  return not fine or result ~= false
end

return chat_session
