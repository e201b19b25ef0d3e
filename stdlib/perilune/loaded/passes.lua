-- How a family's passes are written down: once into a program, or line by line on real tensors.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"
local family = require "perilune.loaded.family"
local observed_net = require "perilune.loaded.observed_net"
local tail_calls = require "perilune.loaded.tail_calls"

local passes = {}

-- A batch as families see it: inputs are asked for when they are first read.
local function batch_of(pass)
  return setmetatable({}, { __index = function(t, name)
    local value = pass:input(name)
    rawset(t, name, value)
    return value
  end })
end

-- Calls a family's function. Errors below it name its own line, also where it ended in a tail call: bindings/lua/edge/guard.cpp
-- reads `tail_place` by its name.
local function call(functions, name, ...)
  local tail_place = tail_calls.place(functions[name])   -- luacheck: ignore 211
  local result = functions[name](...)
  return result
end

--- Runs the head and names what it gives.
local function write_head(t, net, pass, batch, x, head, entry)
  if family.per_token[head] then x = pass:wanted(x, family.predicts_next[head] and "last" or "all") end
  local result = call(t.heads, head, net, x, batch, entry)
  if kind.of(result) == "Tensor" then
    pass:output("logits", net:mark("logits", result))
    return
  end
  if type(result) ~= "table" then
    raise("argument", "load", ("family %s: head %s must give logits or a table"):format(t.name, head))
  end
  for _, name in ipairs(names_of(result)) do pass:output(name, result[name]) end
end

--- Writes one entry of a family into a pass.
---@param t table the family
---@param pass userdata
---@param entry string one of the family's entries
---@param head string|nil the head that follows, for entries that have one
---@param observe table|nil as observed_net takes it, or with wrap= for the scope itself; of an eager pass
function passes.write(t, pass, entry, head, observe)
  local net = pass:net()
  if observe then net = observe.wrap and observe.wrap(net) or observed_net(net, observe) end
  if entry == "cross" then
    call(t, "cross", net, pass:input "encoded")
    return
  end
  local batch = batch_of(pass)
  local x = call(t, entry, net, batch)
  if kind.of(x) ~= "Tensor" then
    raise("argument", "load", ("family %s: %s must return a tensor"):format(t.name, entry))
  end
  if head and family.has_head(t, entry) then write_head(t, net, pass, batch, x, head, entry) else pass:output("encoded", x) end
end

--- Traces one entry into a program.
---@param checkpoint userdata
---@param t table
---@param c table the family's config
---@param entry string
---@param head string|nil
---@param opts table|nil { after= (programs whose results it reads), names_only= (only to learn which stored tensors it reads),
--- outliers= (inputs from this magnitude are multiplied apart) }
---@return userdata|nil program
function passes.trace(checkpoint, t, c, entry, head, opts)
  local names_only = opts and opts.names_only or nil
  local pass = core.trace(checkpoint, { entry = entry, axes = c.axes, config = c, names_only = names_only, after = opts and opts.after,
    outliers = opts and opts.outliers })
  passes.write(t, pass, entry, head)
  if names_only then return nil end
  return pass:finish(family.has_head(t, entry) and head or "")
end

--- Reads the names that heads nobody chose would read, so that their tensors are accounted for.
---@param checkpoint userdata
---@param t table
---@param c table
---@param chosen string
function passes.touch_other_heads(checkpoint, t, c, chosen)
  for head in pairs(t.heads) do
    if head ~= chosen then
      local fine, err = pcall(passes.trace, checkpoint, t, c, family.main_entry(t), head, { names_only = true })
      -- Shapes that do not fit a head nobody asked for are nobody's error; everything else is.
      if not fine and not (type(err) == "table" and err.code == "shape") then error(err, 0) end
    end
  end
end

return passes
