--- safetensors files as lists of tensors, for specs that write them otherwise than pl.save does.
local core = require "perilune.core"

local safetensors_of = {}

--- A number's bytes, lowest first.
function safetensors_of.little_endian(value, bytes)
  local out = {}
  for i = 1, bytes do out[i], value = string.char(value % 256), math.floor(value / 256) end
  return table.concat(out)
end

--- The tensors of a file by name: { name=, dtype=, shape=, bytes= } each.
function safetensors_of.stored(path)
  local file, size, scale = core.read_file(path), 0, 1
  for i = 1, 8 do size, scale = size + file:byte(i) * scale, scale * 256 end
  local list = {}
  for name, entry in pairs(core.json(file:sub(9, 8 + size))) do
    if name ~= "__metadata__" then
      local first, last = unpack(entry.data_offsets)
      list[#list + 1] = { name = name, dtype = entry.dtype, shape = entry.shape, bytes = file:sub(9 + size + first, 8 + size + last) }
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- The bytes of a file of such tensors; metadata: text → text.
function safetensors_of.bytes(list, metadata)
  local entries, data, offset = {}, {}, 0
  for i, tensor in ipairs(list) do
    entries[i] = ('"%s":{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}'):format(tensor.name, tensor.dtype, table.concat(tensor.shape, ","),
      offset, offset + #tensor.bytes)
    data[i], offset = tensor.bytes, offset + #tensor.bytes
  end
  if metadata then table.insert(entries, 1, '"__metadata__":' .. core.write_json(metadata)) end
  local header = "{" .. table.concat(entries, ",") .. "}"
  return safetensors_of.little_endian(#header, 8) .. header .. table.concat(data)
end

return safetensors_of
