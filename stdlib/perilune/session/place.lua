-- Where in a line of Lua its end is: which call is open, what a name stands for. Nothing is run.
local core = require "perilune.core"
local documentation = require "perilune.help.documentation"

local place = {}

--- The stop that the session is at, as session:stay takes it, or nil.
place.scope = nil

-- What the first name of a chain stands for: at a stop inside a model its own names, then globals.
local function named(name)
  local scope = place.scope
  if scope then
    local fine, found, value = pcall(scope.get, name)
    if fine and found then return value end
  end
  return rawget(_G, name)
end

--- The value of "a.b.c", or nil; never runs a call.
---@param path string
---@return any
function place.value_of(path)
  local value
  local first = true
  for name in path:gmatch "[^%.]+" do
    local fine, found = pcall(function()
      if first then return named(name) end
      return value[name]
    end)
    if not fine or found == nil then return nil end
    value, first = found, false
  end
  return value
end

--- The name of a value's type: "pl" for the library.
---@param value any
---@return string|nil
function place.owner_name(value)
  if value == rawget(_G, "pl") then return "pl" end
  if type(value) == "userdata" then return core.type(value) end
  local meta = type(value) == "table" and getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__name") or nil
end

-- Where the bracket or quote opens that the last byte of a text closes; nil for none.
local function opening_of(text)
  local depth, i, closing = 0, #text, text:sub(-1)
  if closing == '"' or closing == "'" then
    local open = text:sub(1, -2):match("^.*()" .. closing)
    return open
  end
  while i > 0 do
    local c = text:sub(i, i)
    if c == '"' or c == "'" then
      local open = text:sub(1, i - 1):match("^.*()" .. c)
      if not open then return nil end
      i = open
    elseif c:find "[%)%]}]" then
      depth = depth + 1
    elseif c:find "[%(%[{]" then
      depth = depth - 1
      if depth == 0 then return i end
    end
    i = i - 1
  end
  return nil
end

-- "Result|nil" → "Result"; "fun(): x" and the like → nil.
local function class_in(type_text) return type_text and type_text:match "^(%u%w*)%f[^%w]" end

--- The type that an expression at the end of a text has, without running it: of values by looking, of calls by what their
--- descriptions say they return.
---@param text string
---@return string|nil type "pl", "Model", "Tensor", …
---@return table|nil entry of the call that gives it
function place.type_of(text)
  text = text:gsub("%s+$", "")
  local chain = text:match "([%a_][%w_%.]*)$"
  local before = chain and text:sub(1, #text - #chain):match "(.?)$"
  if chain and not before:find "[%.:%)%]}\"']" then
    local value = place.value_of(chain)
    if value ~= nil then return place.owner_name(value) end
  end
  local all = documentation.all()
  local object, member = text:match "^(.*)%.([%a_][%w_]*)$"
  if object then
    local owner, call = place.type_of(object)
    if not owner and call then   -- a key of the table that a call gives: "{ logits= Tensor, …"
      return (call.returns[1] or ""):match("%f[%w_]" .. member .. "=%s*(%u%w*)")
    end
    local entry = owner and all.by_name[owner .. "." .. member]
    return entry and class_in(entry.type)
  end
  local open = text:find "[%)}\"']$" and opening_of(text)
  if not open then return nil end
  local callee, separator
  callee, separator, member = text:sub(1, open - 1):match "^(.*)([%.:])([%a_][%w_]*)%s*$"
  local owner = callee and place.type_of(callee)
  local entry = owner and all.by_name[owner .. separator .. member]
  return entry and class_in(entry.returns[1]), entry
end

--- The entry that documents "m:generate" or "pl.load".
---@param callee string
---@return table|nil
function place.entry_of(callee)
  local all = documentation.all()
  if all.by_name[callee] then return all.by_name[callee] end
  local object, member = callee:match "^(.+)[%.:]([%w_]+)$"
  local separator = object and callee:sub(#object + 1, #object + 1)
  if not object then return nil end
  local owner = place.type_of(object)
  if owner then return all.by_name[owner .. separator .. member] end
  for _, entry in ipairs(all.list) do
    if entry.kind == "method" and separator == ":" and entry.member == member then return entry end
  end
  return nil
end

--- What is open at the end of a text: brackets, and a string.
---@param text string
---@return table[] brackets { mark=, at= }, the innermost last
---@return table|nil quote { mark=, at= }
function place.open_places(text)
  local stack, i, quote = {}, 1, nil
  while i <= #text do
    local c = text:sub(i, i)
    if quote then
      if c == "\\" then i = i + 1 elseif c == quote.mark then quote = nil end
    elseif c == '"' or c == "'" then
      quote = { mark = c, at = i }
    elseif c:find "[%({%[]" then
      stack[#stack + 1] = { mark = c, at = i }
    elseif c:find "[%)}%]]" then
      stack[#stack] = nil
    end
    i = i + 1
  end
  return stack, quote
end

--- The function that the innermost open bracket calls.
---@param text string
---@param stack table[] of open_places
---@return string|nil callee
---@return boolean|nil in_table whether the place is in its braces
function place.open_call(text, stack)
  local in_table = false
  for i = #stack, 1, -1 do
    local before = text:sub(1, stack[i].at - 1)
    local callee = before:match "([%a_][%w_%.:]*)%s*$"
    if stack[i].mark == "{" then
      if in_table and not callee then return nil end
      in_table = true
    end
    if callee and not before:match "=%s*$" then return callee, in_table end
    if stack[i].mark == "(" then return nil end
  end
  return nil
end

return place
