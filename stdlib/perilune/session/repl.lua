-- A session: what a line does. Keys, history and Ctrl-C are the program's (repl/).
local core = require "perilune.core"
local strict = require "perilune.base.strict"
local show = require "perilune.show.show"
local completion = require "perilune.session.completion"
local byte_count = require "perilune.base.byte_count"

local repl = {}

-- Tensors of a result that is larger are not kept in `_`.
repl.kept_bytes = 64 * 2 ^ 20

local Session = { __name = "Session" }
Session.__index = Session

-- Names that a line may read although they are nil.
local always = { _ = true, _G = true }

-- Globals of typed lines: reading one that nobody set is a mistake worth a hint.
local function environment(session)
  return setmetatable({}, {
    __index = function(_, name)
      local value = rawget(_G, name)
      if value ~= nil or always[name] or session.assigned[name] then return value end
      error(strict.problem(name), 0)
    end,
    __newindex = function(_, name, value)
      session.assigned[name] = true
      rawset(_G, name, value)
    end,
  })
end

--- A session. `host.read(prompt)` asks for a line; `host.interactive` says whether a person types.
---@param host table { version=, interactive=, read= }
---@return table session
function repl.new(host)
  local session = setmetatable({ host = host, pending = nil, assigned = {}, initial = {}, failed = false, last_error = nil }, Session)
  rawset(_G, "pl", require "perilune")
  for name in pairs(_G) do session.initial[name] = true end
  session.environment = environment(session)
  if host.interactive then
    print(("Perilune %s on %s. :help tells more, ?name explains a name, Ctrl-D leaves."):format(host.version or "", core.devices()[1].name))
  end
  require("perilune.session.debugger").install(host)
  return session
end

--- What to ask for the next line with.
---@return string
function Session:prompt() return self.pending and ">> " or "> " end

--- Forgets lines that are not finished.
function Session:drop() self.pending = nil end

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

-- The script's own frames: not the library's, not C functions.
local function own_frames(trace)
  local lines = {}
  for line in (trace or ""):gmatch "[^\n]+" do
    if line:find "^\t" and not line:find("^\t%[") and not line:find("^\tstdlib/perilune/") then lines[#lines + 1] = line end
  end
  return table.concat(lines, "\n")
end

local function on_error(raised)
  local err = { value = raised, trace = debug.traceback("", 2) }
  if type(raised) == "table" and rawget(raised, "traceback") then err.trace = raised.traceback end
  return err
end

function Session:report(err)
  self.failed, self.last_error = true, err
  io.stdout:flush()
  local value = type(err) == "table" and err.value or err
  local text = type(value) == "table" and rawget(value, "message") or tostring(value)
  local code = type(value) == "table" and rawget(value, "code")
  if code == "interrupted" or text:find "interrupted$" then
    io.stderr:write "interrupted\n"
    return
  end
  io.stderr:write((text:gsub("^line:1: ", ""):gsub("; in line:1%f[^%d]", "")), "\n")
end

-- Bytes of tensors in a value, looking one table deep.
local function held_bytes(value)
  local function of(one)
    local fine, bytes = pcall(function() return core.type(one) == "Tensor" and one.bytes or 0 end)
    return fine and bytes or 0
  end
  if type(value) == "userdata" then return of(value) end
  if type(value) ~= "table" or getmetatable(value) then return 0 end
  local sum = 0
  for _, one in pairs(value) do if type(one) == "userdata" then sum = sum + of(one) end end
  return sum
end

function Session:keep(value)
  local bytes = held_bytes(value)
  if bytes > repl.kept_bytes then
    print(("(%s: not kept in _; give it a name to keep it)"):format(byte_count.text(bytes)))
    value = nil
  end
  rawset(_G, "_", value)
end

-- Runs a compiled line; prints what it gives unless `quiet`.
function Session:run(chunk, quiet)
  setfenv(chunk, self.environment)
  local function collect(fine, ...) return fine, select("#", ...), { ... } end
  local fine, count, values = collect(xpcall(chunk, on_error))
  if not fine then
    self:report(values[1])
    return false
  end
  if count == 0 then return true end
  if not quiet then
    local shown, err = pcall(function()
      for i = 1, count do print(show.show(values[i])) end
    end)
    if not shown then self:report(err) end
  end
  self:keep(values[1])
  return true
end

-- A chunk that starts with `local` would lose its names with the line: they become the session's.
local function without_local(text)
  local rest = text:match "^%s*local%s+(function%s.*)$"
  if rest then return rest end
  rest = text:match "^%s*local%s+(.*)$"
  if not rest then return text end
  if rest:match "^[%a_][%w_%s,]*=" and not rest:match "^[%a_][%w_%s,]*==" then return rest end
  local names = rest:match "^([%a_][%w_%s,]*);?%s*$"
  return names and names .. " = nil" or text
end

-- The text as a chunk: an expression first. Or nil, whether more lines could complete it, and why not.
local function compile(text)
  local muted = text:match "^(.*%S)%s*;%s*$"
  local expression = muted or text
  local chunk = loadstring("return " .. expression, "=line")
  if chunk and expression:find "%S" then return chunk, muted ~= nil end
  local err
  chunk, err = loadstring(without_local(text), "=line")
  if chunk then return chunk, true end
  return nil, err:find("'<eof>'", 1, true) ~= nil, err
end

--- Runs what was typed, or keeps it until the rest comes.
---@param text string one line
---@return boolean goes_on false: the session ends
function Session:line(text)
  if not self.pending then
    local first = text:match "^%s*([:?])"
    if first and not text:match "^%s*::" then return require("perilune.session.session_commands").run(self, text:match "^%s*(.-)%s*$") end
    text = text:gsub("^%s*=", "")
  end
  local whole = self.pending and self.pending .. "\n" .. text or text
  self.pending = nil
  if not whole:find "%S" then return true end
  local chunk, more, err = compile(whole)
  if chunk then
    self:run(chunk, more)
  elseif more then
    self.pending = whole
  else
    self:report { value = err:gsub("^line:(%d+): ", function(n) return n == "1" and "" or "line " .. n .. ": " end) .. "", trace = "" }
  end
  return true
end

--- The own frames of the last error, or nil.
---@return string|nil
function Session:last_trace()
  if not self.last_error then return nil end
  local value = self.last_error.value
  local frames = own_frames(self.last_error.trace)
  return tostring(type(value) == "table" and rawget(value, "message") or value) .. (frames ~= "" and "\n" .. frames or "")
end

return repl
