-- What C holds by number. A number is never given twice.
local core = require "perilune.core"
local kind_of = require "perilune.base.kind"

local objects = {}

local entries, last, numbers = {}, 0, setmetatable({}, { __mode = "k" })

local function missing(number, kind)
  error({ code = "handle", op = "handle", message = ("handle: there is no %s %d: it was released"):format(kind or "object", number) }, 0)
end

--- A new number for a value.
---@param kind string "model", "request", "conversation", "object"
---@param value any
---@return integer number
function objects.add(kind, value)
  last = last + 1
  entries[last] = { kind = kind, value = value, number = last }
  if type(value) == "table" then numbers[value] = last end
  return last
end

--- What C keeps about an object; nil for one that was released.
function objects.find(number) return number and entries[number] end

--- What C keeps about an object, or an error of the code "handle".
function objects.entry(number, kind)
  local entry = entries[number]
  if not entry or kind and entry.kind ~= kind then missing(number, kind) end
  return entry
end

function objects.get(number, kind) return objects.entry(number, kind).value end

--- The value of any object, as scripts see it: a request's is the engine's own.
function objects.any(number)
  local entry = objects.entry(number)
  return entry.kind == "request" and entry.value.line or entry.value
end

--- The number under which C gets a value: its own, or a new one.
---@return integer number
---@return string kind
function objects.number_of(value)
  local number = type(value) == "table" and numbers[value]
  if number and entries[number] then return number, entries[number].kind end
  local kind = kind_of.of(value) == "Model" and "model" or "object"
  return objects.add(kind, value), kind
end

-- How each kind ends.
local closing = {
  model = function(entry)
    if entry.engine then pcall(entry.engine.close, entry.engine) end
    if not core.interrupted() then pcall(entry.value.close, entry.value) end
  end,
  request = function(entry)
    local request = entry.value
    if request.line and not request.result then pcall(request.line.cancel, request.line) end
  end,
}

--- Forgets an object; a request under way is cancelled, a model closed.
function objects.close(number)
  local entry = objects.entry(number)
  entries[number] = nil
  if closing[entry.kind] then closing[entry.kind](entry) end
end

--- Calls f with every entry of a kind.
function objects.each(kind, f)
  for _, entry in pairs(entries) do if entry.kind == kind then f(entry) end end
end

return objects
