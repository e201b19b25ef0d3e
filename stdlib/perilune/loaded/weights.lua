-- Weights of a loaded model as tensors: read by name, replaced in memory.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local pass_runner = require "perilune.loaded.pass_runner"
local ranks = require "perilune.loaded.ranks"

local weights = {}

local function starts(text, beginning) return text:sub(1, #beginning) == beginning end
local function ends(text, ending) return ending == "" or text:sub(-#ending) == ending end

-- The stored name behind a canonical path of a module, such as layers.3.mlp.c_fc: the one name that has the
-- layer's number and ends alike.
local function of_canonical(s, path)
  local side = path:match "^encoder%." or path:match "^decoder%." or ""
  local number, rest = path:sub(#side + 1):match "^layers%.(%d+)%.(.+)$"
  if not number then return nil end
  local found
  for _, name in ipairs(s.checkpoint:names()) do
    local module = name:gsub("%.weight$", "")
    for _, candidate in ipairs { name, module } do
      local before = candidate:match("^(.-)%f[%d]" .. number .. "%." .. rest:gsub("%p", "%%%0") .. "$")
      if before and (side == "" or starts(before, side)) and (found == nil or found == name) then
        found = name
      elseif before and (side == "" or starts(before, side)) then
        return nil   -- several: the name does not say which
      end
    end
  end
  return found
end

-- The checkpoint's own name for a stored name, a module's path or a canonical one.
local function own_name(s, name, op)
  if type(name) ~= "string" then raise("argument", op, "name: expected a text, got " .. options.show(name)) end
  if s.checkpoint:sizes(name) then return name end
  for _, prefix in ipairs(s.family.prefixes or {}) do
    if starts(name, prefix) and s.checkpoint:sizes(name:sub(#prefix + 1)) then return name:sub(#prefix + 1) end
  end
  return of_canonical(s, name) or name
end

-- Names for the axes of a weight: of a matrix what comes out and what goes in, of a vector what it goes along.
local function axis_names(s, name, sizes)
  if #sizes == 1 then
    for _, axis in ipairs { "hidden", "head_dim", "ffn" } do
      if sizes[1] == s.c.axes[axis] then return { axis } end
    end
    return { "output" }
  end
  local embedding = s.family.embedding
  if #sizes == 2 then return embedding and ends(name:gsub("%.weight$", ""), embedding) and { "vocab", "hidden" } or { "output", "input" } end
  local names = {}
  for i = 1, #sizes do names[i] = "axis" .. i end
  return names
end

--- A copy of a weight, as f32.
---@param m table
---@param name string
---@return Tensor
function weights.weight(m, name)
  local s = pass_runner.open(m, "weight")
  local own = own_name(s, name, "weight")
  local sizes = s.checkpoint:sizes(own)
  return s.checkpoint:copy(own, sizes and axis_names(s, own, sizes) or {})
end

--- Puts a tensor in a weight's place, for calls and requests from then on. The files stay as they are.
---@param m table
---@param name string
---@param t Tensor
function weights.set_weight(m, name, t)
  local s = pass_runner.open(m, "set_weight")
  ranks.refuse(s, "set_weight", "its weights stay as they were loaded")
  local own = own_name(s, name, "set_weight")
  if kind.of(t) ~= "Tensor" then raise("argument", "set_weight", "expected a Tensor, got " .. options.show(t)) end
  local sizes, has = s.checkpoint:sizes(own), {}
  for _, axis in ipairs(t.shape) do has[axis.name] = true end
  local names, all = sizes and axis_names(s, own, sizes) or {}, true
  for _, axis in ipairs(names) do all = all and has[axis] end
  s.checkpoint:replace(own, all and #names == t.rank and #names > 0 and t:order(unpack(names)) or t)
  s.programs, s.plans = {}, {}
  if s.pool then s.pool:forget() end
end

return weights
