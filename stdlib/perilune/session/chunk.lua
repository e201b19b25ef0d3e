-- Typed text as something to run.
local chunk = {}

--- The name of a function in a chunk's environment that returns what it is given.
chunk.values_name = "values_"

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

-- Methods that print or write what they are about and give it back: shown once is enough.
local shows_itself = { show = true, hist = true, plot = true, timeline = true, graph = true }

local function is_shown(expression)
  local method = expression:match ":([%a]+)%s*%b()%s*$" or expression:match ":([%a]+)%s*%b{}%s*$" or expression:match ":([%a]+)%s*([\"']).-%2%s*$"
  return method ~= nil and shows_itself[method] == true
end

local function ends_early(problem) return problem ~= nil and problem:find("near '<eof>'", 1, true) ~= nil end

--- Compiles an expression or statements.
---@param text string
---@param name string as errors name it: "[3]"
---@param before string|nil newlines, where the text is not the first of its file
---@return function|nil
---@return boolean flag with a chunk whether its values are not printed; without one whether more lines could complete it
---@return string|nil problem "[3]:1: unexpected symbol near 'x'"
function chunk.compile(text, name, before)
  before = before or ""
  local muted = text:match "^(.*%S)%s*;%s*$"
  local expression = (muted or text):gsub("^%s*return%f[^%w_]", "")   -- what it gives is shown as well
  local compiled, problem = loadstring(before .. "return " .. expression, "=" .. name)
  if compiled and expression:find "%S" then
    -- As an argument its last call is no tail call, and errors know its line.
    local wrapped = loadstring(("%sreturn %s(%s)"):format(before, chunk.values_name, expression), "=" .. name)
    return wrapped or compiled, muted ~= nil or is_shown(expression)  -- a comment at its end hides the bracket
  end
  local more = ends_early(problem)
  compiled, problem = loadstring(before .. without_local(text), "=" .. name)
  if compiled then return compiled, true end
  return nil, more or ends_early(problem), problem
end

--- The line if it is a command: ":time f()", "?name"; nil for Lua.
---@param text string
---@return string|nil
function chunk.command(text)
  local command = text:match "^%s*([:?].-)%s*$"
  return command and not command:find "^::" and command or nil
end

-- What opens and closes: by words and brackets, roughly as Lua reads them.
local opens = { ["function"] = 1, ["do"] = 1, ["if"] = 1, ["repeat"] = 1, ["end"] = -1, ["until"] = -1, ["("] = 1, ["{"] = 1, ["["] = 1,
  [")"] = -1, ["}"] = -1, ["]"] = -1 }

-- How many brackets and blocks are open behind a line, and the end of the long text that it is in, or nil.
local function depth_behind(line, depth, closing)
  local at = 1
  while at <= #line do
    if closing then
      local _, last = line:find(closing, at, true)
      if not last then return depth, closing end
      closing, at = nil, last + 1
    else
      local first, last, word = line:find("([%a_][%w_]*)", at)
      local mark = line:find("[%(%){}%[%]\"'%-]", at)
      if not first and not mark then return depth, nil end
      if first and (not mark or first < mark) then
        depth, at = depth + (opens[word] or 0), last + 1
      else
        local character = line:sub(mark, mark)
        local level = line:match("^%-?%-?%[(=*)%[", mark)
        at = mark + 1
        if level and (character == "[" or line:sub(mark, mark + 1) == "--") then
          closing, at = "]" .. level .. "]", select(2, line:find("%[=*%[", mark)) + 1
        elseif line:sub(mark, mark + 1) == "--" then
          return depth, nil
        elseif character == '"' or character == "'" then
          while at <= #line and line:sub(at, at) ~= character do at = at + (line:sub(at, at) == "\\" and 2 or 1) end
          at = at + 1
        else
          depth = depth + (opens[character] or 0)
        end
      end
    end
  end
  return depth, closing
end

-- Of a longer statement only those lines are compiled behind which nothing seems to be open, and the last: a long table would
-- be compiled as often as it has lines.
local compiled_lines = 40

-- A block's statements, each with as few lines as it can have; what is left is not finished.
local function cut(text, name, lines_before)
  local pieces, pending, before, number = {}, nil, 0, 0
  local depth, closing, last = 0, nil, select(2, text:gsub("\n", "")) + 1
  for line in (text .. "\n"):gmatch "(.-)\n" do
    if not pending then before, depth, closing = number, 0, nil end
    number = number + 1
    if not pending and chunk.command(line) then
      pieces[#pieces + 1] = { text = line, before = before }
    elseif pending or line:find "%S" then
      pending = pending and pending .. "\n" .. line or (line:gsub("^%s*=", ""))
      depth, closing = depth_behind(line, depth, closing)
      local compiled, more, problem
      if number - before > compiled_lines and number < last and (depth > 0 or closing) then
        more = true
      else
        compiled, more, problem = chunk.compile(pending, name, ("\n"):rep(lines_before + before))
      end
      if compiled then
        pieces[#pieces + 1] = { text = pending, before = before }
        pending = nil
      elseif not more then
        return pieces, nil, problem
      end
    end
  end
  return pieces, pending
end

--- The pieces of a block that are run one after the other: a line that says something by itself, or as many as a statement
--- needs; all of them in one piece where that alone is Lua.
---@param text string
---@param name string as errors name it
---@param lines_before integer|nil of its file, where it is not the first
---@return table[] pieces { text=, before= lines in front of it, problem= why nothing of the block can run, or nil }
---@return string|nil rest what is not finished
function chunk.pieces(text, name, lines_before)
  local pieces, rest, problem = cut(text, name, lines_before or 0)
  if rest or problem then
    if chunk.compile(text, name) then return { { text = text, before = 0 } } end
    if problem then return { { text = text, before = 0, problem = problem } } end
  end
  return pieces, rest
end

-- Lines of a statement that is not finished, which come one by one.
local Held = {}
Held.__index = Held

--- Holds lines, so that a long statement is not read anew with each.
---@param text string the lines so far
---@return table
function chunk.hold(text)
  local held = setmetatable({ lines = {}, depth = 0 }, Held)
  held:add(text)
  return held
end

--- One more line, or several. Whether it is too early to look whether the statement is finished.
---@param text string
---@return boolean
function Held:add(text)
  for line in (text .. "\n"):gmatch "(.-)\n" do
    self.lines[#self.lines + 1] = line
    self.depth, self.closing = depth_behind(line, self.depth, self.closing)
  end
  return #self.lines > compiled_lines and (self.depth > 0 or self.closing ~= nil)
end

---@return string
function Held:text() return table.concat(self.lines, "\n") end

--- Whether a text can run as it is; a mistake can, too.
---@param text string
---@return boolean
function chunk.finished(text)
  local _, rest = chunk.pieces(chunk.without_prompts(text), "input")
  return rest == nil
end

--- A text without the prompts of a session that it was copied from: no statement starts with ">" or "[3]>".
---@param text string
---@return string
function chunk.without_prompts(text)
  if not text:find "^%s*%[?%d*%]?>+ " then return text end
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = (line:gsub("^%s*%[?%d*%]?>+ ?", "")) end
  return table.concat(lines, "\n")
end

return chunk
