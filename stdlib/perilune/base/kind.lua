-- What a value is: the type names of userdata, and models and other tables that carry a class.
local raise = require "perilune.base.raise"

local kind = {}

--- "Tensor", "Batch", "Tokenizer", "Request", "Model", … or nil for plain Lua values.
---@param value any
---@return string|nil
function kind.of(value)
  local t = type(value)
  if t ~= "userdata" and t ~= "table" then return nil end
  local meta = getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__name") or nil
end

--- Raises unless a method of a class was called on one of its objects: with a colon.
---@param object any
---@param class string
---@param op string
function kind.expect(object, class, op)
  if kind.of(object) ~= class then
    raise("argument", op, ("self: expected a %s, got %s"):format(class, kind.of(object) or type(object)),
      ("call methods with a colon: object:%s(...)"):format(op))
  end
end

--- Whether an error stands for a lack of memory: who tries something out with pcall has no answer then.
---@param err any
---@return boolean
function kind.no_memory(err)
  return err == "not enough memory" or type(err) == "table" and rawget(err, "code") == "memory"
end

--- Whether a value is a plain list (entries from 1, no class). {} is one.
---@param value any
---@return boolean
function kind.is_list(value)
  return type(value) == "table" and kind.of(value) == nil and (value[1] ~= nil or next(value) == nil)
end

--- Raises where a list has a hole: what comes after it would be lost.
---@param list table
---@param op string
---@param what string what the list holds, for instance "texts"
---@return table list
function kind.whole(list, op, what)
  local prefix, entries = 0, 0
  while list[prefix + 1] ~= nil do prefix = prefix + 1 end
  for key in pairs(list) do if type(key) == "number" then entries = entries + 1 end end
  if entries > prefix then
    raise("argument", op, ("%s: the list has a hole: entry %d is nil"):format(what, prefix + 1), "leave it out: what follows would be lost")
  end
  return list
end

return kind
