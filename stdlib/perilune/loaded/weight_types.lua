-- The types that weights are stored in by the names that scripts give, and the options each of them takes.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local names_of = require "perilune.base.names_of"

local weight_types = {}

local groups = { 32, 64, 128 }

-- GGUF's types, by the type that rows take which blocks of 256 do not divide (as llama.cpp's files have them); false:
-- blocks of 32, of which a row's last may be filled up, but not in a file of GGUF.
local gguf = { q4_0 = false, q4_1 = false, q5_0 = false, q5_1 = false, q8_0 = false, iq4_nl = false, mxfp4 = false,
  q2_k = "q4_0", q3_k = "q4_0", q4_k = "q5_0", q5_k = "q5_1", q6_k = "q8_0" }
local short_block, long_block = 32, 256

-- The largest group that divides a row; rows that none divides end inside a group.
local function group_for(inputs, wanted)
  if wanted then return wanted end
  for i = #groups, 1, -1 do
    if inputs % groups[i] == 0 then return groups[i] end
  end
  return groups[1]
end

local function float4(name)
  return { keys = { double_quantization = "boolean" },
    storage = function(_, o) return o.double_quantization and name .. "_DOUBLE" or name end }
end

local function fixed(storage) return { keys = {}, storage = function() return storage end } end

-- name → { keys= (options it takes), storage=function(inputs, options, whole blocks only) → the engine's name; nil: rows do not fit }
local types = {
  f32 = fixed "f32", f16 = fixed "f16", bf16 = fixed "bf16",
  int8 = fixed "INT8_ROW", ["int8-weight"] = fixed "INT8",
  nf4 = float4 "NF4", fp4 = float4 "FP4",
  int4 = { keys = { group = "positive", symmetric = "boolean" },
    storage = function(inputs, o)
      return ("INT4%s_%d"):format(o.symmetric == false and "Z" or "", group_for(inputs, o.group))
    end },
}
for name, instead in pairs(gguf) do
  types[name] = { keys = {}, storage = function(inputs, _, whole_blocks)
    if whole_blocks and inputs % short_block ~= 0 then return nil end
    return (instead and inputs % long_block ~= 0 and instead or name):upper()
  end }
end

--- Options that some type takes, with their kinds.
---@type table<string, string>
weight_types.keys = {}
for _, one in pairs(types) do
  for key, kind in pairs(one.keys) do weight_types.keys[key] = kind end
end

--- Names of all types, sorted.
---@return string[]
function weight_types.names() return names_of(types) end

--- Whether an option means something to a type.
---@param name string
---@param key string
---@return boolean
function weight_types.takes(name, key) return types[name].keys[key] ~= nil end

--- Which types an option is for, for people.
---@param key string
---@return string
function weight_types.takers(key)
  local names = {}
  for _, name in ipairs(weight_types.names()) do
    if types[name].keys[key] then names[#names + 1] = name end
  end
  return "it is for " .. table.concat(names, ", ")
end

--- Checks the name of a type and its options.
---@param name any
---@param o table { group=, symmetric=, double_quantization= } those that were given for this type
---@param where string what names it, for messages
---@param op string
---@return string name in lower case
function weight_types.check(name, o, where, op)
  local key = type(name) == "string" and name:lower() or nil
  if key == "mixed" then
    raise("unsupported", op, where .. ': "mixed", which chooses a type for each layer, is not in this build',
      "name the layers' types by patterns")
  end
  if not key or not types[key] then
    local near = key and core.nearest(key, weight_types.names())
    raise("option", op, ("%s: there is no weight type %s"):format(where, options.show(name)),
      (near and ('did you mean "%s"? '):format(near) or "") .. "types are " .. table.concat(weight_types.names(), ", "))
  end
  for option in pairs(o) do
    if not types[key].keys[option] then
      raise("option", op, ("%s: %s means nothing to %s"):format(where, option, key), weight_types.takers(option))
    end
  end
  if o.group and o.group ~= 32 and o.group ~= 64 and o.group ~= 128 then
    raise("option", op, ("%s: group: %s is not one of 32, 64, 128"):format(where, options.show(o.group)))
  end
  return key
end

--- What the engine calls the storage of rows of so many inputs.
---@param name string a checked type
---@param o table its options
---@param inputs integer
---@param whole_blocks boolean|nil rows may not end inside a block, as in GGUF files
---@return string|nil nil where such rows cannot be stored so
function weight_types.storage(name, o, inputs, whole_blocks) return types[name].storage(inputs, o, whole_blocks) end

--- Whether a type is one of numbers that are not quantized.
---@param name string
---@return boolean
function weight_types.is_plain(name) return name == "f32" or name == "f16" or name == "bf16" end

return weight_types
