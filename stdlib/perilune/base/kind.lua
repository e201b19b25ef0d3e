-- What a value is: the type names of userdata, and models and other tables that carry a class.
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

--- Whether a value is a plain list (entries from 1, no class). {} is one.
---@param value any
---@return boolean
function kind.is_list(value)
  return type(value) == "table" and kind.of(value) == nil and (value[1] ~= nil or next(value) == nil)
end

return kind
