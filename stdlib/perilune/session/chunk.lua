-- Typed text as something to run.
local chunk = {}

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
  local expression = muted or text
  local compiled, problem = loadstring(before .. "return " .. expression, "=" .. name)
  if compiled and expression:find "%S" then return compiled, muted ~= nil end
  local more = ends_early(problem)
  compiled, problem = loadstring(before .. without_local(text), "=" .. name)
  if compiled then return compiled, true end
  return nil, more or ends_early(problem), problem
end

return chunk
