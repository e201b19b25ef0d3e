-- Where in a line of Lua its end is: which call is open, what a name stands for. Nothing is run.
local core = require "perilune.core"
local documentation = require "perilune.help.documentation"

local place = {}

--- The value of "a.b.c", or nil; never runs a call.
---@param path string
---@return any
function place.value_of(path)
  local value
  local first = true
  for name in path:gmatch "[^%.]+" do
    local fine, found = pcall(function() return first and rawget(_G, name) or not first and value[name] or nil end)
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

--- The entry that documents "m:generate" or "pl.load".
---@param callee string
---@return table|nil
function place.entry_of(callee)
  local all = documentation.all()
  if all.by_name[callee] then return all.by_name[callee] end
  local object, separator, member = callee:match "^([%w_%.]+)([%.:])([%w_]+)$"
  if not object then return nil end
  local value = place.value_of(object)
  local owner = value ~= nil and place.owner_name(value)
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
