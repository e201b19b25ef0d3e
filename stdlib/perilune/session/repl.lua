-- A session: what a line does. Keys, history and Ctrl-C are the program's (repl/).
local core = require "perilune.core"
local strict = require "perilune.base.strict"
local show = require "perilune.show.show"
local completion = require "perilune.session.completion"
local chunk = require "perilune.session.chunk"
local hints = require "perilune.session.hints"
local errors = require "perilune.session.errors"
local results = require "perilune.session.results"
local commands = require "perilune.session.session_commands"

local repl = {}

local Session = { __name = "Session" }
Session.__index = Session

-- Names that a line may read although they are nil.
local always = { _ = true, _G = true }

local function all_of(...) return ... end

-- What typed lines see: the names of the stop that the session is at, then globals. Reading a global that nobody set is a
-- mistake worth a hint.
local function environment(session)
  return setmetatable({}, {
    __index = function(_, name)
      local scope = session.scopes[#session.scopes]
      if name == chunk.values_name then return all_of end
      if scope then
        local found, value = scope.get(name)
        if found then return value end
      end
      local value = rawget(_G, name)
      if value ~= nil or always[name] or session.assigned[name] then return value end
      if tostring(name):find "^_%d+$" then error(name .. " is not kept: no such input, or its value made room for later ones", 2) end
      error(strict.problem(name), 2)
    end,
    __newindex = function(_, name, value)
      local scope = session.scopes[#session.scopes]
      if scope and scope.set and scope.set(name, value) then return end
      session.assigned[name] = true
      rawset(_G, name, value)
    end,
  })
end

--- A session. `host.read(prompt)` asks for a line within one: the line, or nil and whether it was "interrupted" or the
--- "end"; `host.quietly(f)` calls f where Ctrl-C stops nothing, but what `host.attempt(f, ...)` (a pcall) runs in it, where
--- there are such; `host.interactive` says whether a person types; `host.rows()` how many rows a terminal has and
--- `host.coloured` whether it shows colours, where there is one.
---@param host table { version=, interactive=, read=, rows=, coloured=, quietly=, attempt= }
---@return table session
function repl.new(host)
  local session = setmetatable({ host = host, pending = nil, assigned = {}, initial = {}, failed = false, last_error = nil,
    scopes = {}, number = 1, lines = 0, inputs = {}, results = results.new() }, Session)
  rawset(_G, "pl", require "perilune")
  for name in pairs(_G) do session.initial[name] = true end
  session.environment = environment(session)
  if host.interactive then
    print(("Perilune %s on %s. :help tells more, ?name explains a name, Ctrl-D leaves."):format(host.version or "", core.devices()[1].name))
  end
  require("perilune.session.debugger").install(host, session)
  return session
end

--- What to ask for the next line with.
---@return string
function Session:prompt()
  local scope = self.scopes[#self.scopes]
  if self.pending then return ">> " end
  return scope and scope.prompt or ("[%d]> "):format(self.number)
end

--- Forgets lines that are not finished.
function Session:drop() self.pending, self.held = nil, nil end

--- The exit status; says what is left unfinished.
---@return integer
function Session:finish()
  if self.pending then
    io.stderr:write("perilune: the input ends in the middle of: ", self.pending:match "^[^\n]*", "\n")
    self.failed = true
  end
  return (self.failed and not self.host.interactive) and 1 or 0
end

--- Words that could stand at the end of a line.
---@param text string the line up to the cursor
---@return integer start
---@return string[] words
---@return string|nil suffix
function Session:complete(text) return completion.complete(text, self) end

--- Whether a text can run as it is; a mistake can, too.
---@param text string
---@return boolean
function Session:finished(text) return chunk.finished(text) end

--- What the call takes that is open at the end of a text, in one line; nil for none.
---@param text string the text up to the cursor
---@return string|nil
function Session:hint(text) return hints.text(text) end

-- Reads and runs lines until the scope is left. What a line raises beside its own errors (Ctrl-C at its very end) is not
-- the scope's end.
local function read_lines(session, scope)
  local attempt = session.host.attempt or pcall
  while not scope.left and not session.quitting do
    local line, why = session.host.read(session:prompt())
    if line then
      local fine, goes_on = attempt(session.line, session, line)
      if not fine then session:report { value = goes_on, trace = "" } elseif not goes_on then session.quitting = true end
    elseif why == "interrupted" then
      session:drop()
    else
      return
    end
  end
end

--- Reads and runs lines that see names of their own, until a command calls session:leave(value): what a stop inside a model
--- does. Every command and Tab work there.
---@param scope table { prompt=, get=function(name) → found, value; set=function(name, value) → whether it took it, or nil;
---  names=function() → string[] for Tab, or nil }
---@return any value what leave was given; nil where the input ended
function Session:stay(scope)
  self.scopes[#self.scopes + 1] = scope
  local depth = #self.scopes
  local fine, problem = pcall(self.host.quietly or function(f) return f() end, function() read_lines(self, scope) end)
  for i = #self.scopes, depth, -1 do self.scopes[i] = nil end
  if not fine then error(problem, 0) end
  return scope.value
end

--- Ends the innermost session:stay.
---@param value any
function Session:leave(value)
  local scope = self.scopes[#self.scopes]
  scope.left, scope.value = true, value
end

--- Prints what a line raised and remembers it for :trace.
---@param err table { value=, trace= }
function Session:report(err)
  self.failed, self.last_error = true, err
  io.stdout:flush()
  local text = errors.is_interrupt(err.value) and "interrupted" or self.host.interactive and errors.for_person(err, self)
    or errors.message(err.value)
  io.stderr:write(text, "\n")
end

--- Compiles what was typed, for :time and the like.
---@param text string
---@return function|nil
---@return string|nil problem
---@return boolean|nil muted with a function: whether its values are not printed
function Session:compile(text)
  local compiled, muted, problem = chunk.compile(text, self:name(), not self.host.interactive and ("\n"):rep(self.first_line - 1) or nil)
  if not compiled then return nil, problem end
  return setfenv(compiled, self.environment), nil, muted
end

--- How errors name the input: "[3]", or the file of a pipe.
---@return string
function Session:name() return self.host.interactive and ("[%d]"):format(self.number) or "stdin" end

--- Calls a function; prints what it raises. Whether it ran to its end.
---@param f function
---@return boolean
function Session:try(f)
  local fine, raised = xpcall(f, errors.handler)
  if not fine then self:report(errors.caught(raised)) end
  return fine
end

--- Runs a chunk; prints what it gives unless `quiet`. Whether it ran to its end.
---@param compiled function
---@param quiet boolean|nil
---@return boolean
function Session:run(compiled, quiet)
  setfenv(compiled, self.environment)
  local function collect(fine, ...) return fine, select("#", ...), { ... } end
  local fine, count, values = collect(xpcall(compiled, errors.handler))
  if not fine then
    self:report(errors.caught(values[1]))
    return false
  end
  if count == 0 then return true end
  if not quiet then
    self:try(function()
      for i = 1, count do print(show.show(values[i])) end
    end)
  end
  self.results:keep(self.number, values[1])
  return true
end

-- `quit` typed as a word, where no variable is called so.
local function bare_command(session, text)
  local name = text:match "^%s*(%a%a+)%s*%(?%s*%)?%s*$"   -- not a letter: q is a variable of families
  local row = name and commands.find(name)
  return row and row.bare and rawget(_G, name) == nil and not session.assigned[name] and ":" .. name
end

-- One command, or Lua that begins behind `before` lines of the input, as chunk.pieces gives it. False where nothing more is to run; a second false
-- where it failed.
function Session:run_piece(piece)
  local text, before = piece.text, piece.before
  if piece.problem then
    self:report { value = piece.problem, trace = "" }
    return true, false
  end
  local command = bare_command(self, text) or chunk.command(text)
  if command then return commands.run(self, command) and not self.quitting, true end
  -- Errors count the lines of the block, those of a pipe the lines of the file.
  local first = before + (self.host.interactive and 0 or self.first_line - 1)
  local compiled, flag, problem = chunk.compile(text, self:name(), ("\n"):rep(first))
  if not compiled then
    self:report { value = problem, trace = "" }
    return true, false
  end
  return not self.quitting, self:run(compiled, flag)
end

--- Runs what was typed, or keeps it until the rest comes. Several lines are run as if they came one by one, up to the first
--- that fails.
---@param text string one line, or several
---@return boolean goes_on false: the session ends
function Session:line(text)
  self.lines = self.lines + 1
  if not self.pending then self.first_line = self.lines end
  local whole
  if self.pending then
    self.held = self.held or chunk.hold(self.pending)
    if self.held:add(text) then return true end
    whole = self.held:text()
  else
    whole = chunk.without_prompts(text)
  end
  self.pending = nil
  if not whole:find "%S" then return true end
  local pieces, rest = chunk.pieces(whole, self:name(), not self.host.interactive and self.first_line - 1 or nil)
  if rest then
    self.pending = whole
    return true
  end
  self.held = nil
  local input = { number = self.number, text = whole, fine = true, at_stop = #self.scopes > 0 or nil }
  self.running = whole
  for _, piece in ipairs(pieces) do
    local goes_on, fine = self:run_piece(piece)
    if not goes_on then return false end
    input.fine = fine
    if not fine then break end
  end
  self.inputs[#self.inputs + 1] = input
  self.number = self.number + 1
  return true
end

--- The own frames of the last error, or nil.
---@return string|nil
function Session:last_trace() return self.last_error and errors.with_frames(self.last_error) end

return repl
