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

return kind
