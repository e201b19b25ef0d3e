-- Batching policies: who runs next. Each is a constructor that gives { name=, plan=function(queue, room) };
-- an engine runs the shipped ones without calling Lua.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local policy = {}

--- First in, first out: answers under way go on, then prompts in order of arrival, as much as fits.
---@param opts table|nil none
---@return table policy
function policy.fifo(opts)
  options.check(opts, {}, "fifo")
  return core.policy "fifo"
end

--- As fifo, but what does not fit into a step is passed over: steps are fuller, and a long prompt may
--- be overtaken.
---@param opts table|nil none
---@return table policy
function policy.fill(opts)
  options.check(opts, {}, "fill")
  return core.policy "fill"
end

local function check_bounds(bounds)
  if type(bounds) ~= "table" or #bounds == 0 then
    raise("argument", "buckets", "expected the longest lengths of buckets, got " .. options.show(bounds), "for instance pl.policy.buckets{ 16, 64, 256 }")
  end
  local count = 0
  for _ in pairs(bounds) do count = count + 1 end
  for i = 1, count do
    local bound = bounds[i]
    if type(bound) ~= "number" or bound % 1 ~= 0 or bound < 1 then
      raise("argument", "buckets", ("length %d: expected a whole number from 1, got %s"):format(i, options.show(bound)))
    end
    if i > 1 and bound <= bounds[i - 1] then
      raise("argument", "buckets", ("length %d, %d, is not above %d before it"):format(i, bound, bounds[i - 1]), "list them in ascending order")
    end
  end
end

--- Prompts by length: a step reads prompts of one bucket only, in order of arrival, as many as fit. A
--- bucket holds prompts up to its bound, the last one those beyond all bounds. The prompt that has
--- waited longest says whose turn it is, so none waits forever. Answers under way always go on. Padded
--- in a model that pads, prompts of like length waste little; here, where nothing is padded, they take
--- steps of even size, so that a short prompt does not wait for a long one to be read beside it.
---
---     local m = pl.load "scripts/models/tales"
---     print(#m:generate({ "Once", "The" }, { policy = pl.policy.buckets { 16, 64 }, max_new_tokens = 1 }))   --> 2
---@param bounds integer[] the most tokens of each bucket, ascending
---@return table policy
function policy.buckets(bounds)
  check_bounds(bounds)
  return core.policy("buckets", bounds)
end

return setmetatable(policy, { __index = function(t, name)
  local names = {}
  for known in pairs(t) do names[#names + 1] = known end
  local near = type(name) == "string" and core.nearest(name, names)
  return raise("argument", "policy", ("there is no pl.policy.%s"):format(tostring(name)),
    near and ("did you mean pl.policy." .. near .. "?") or options.unknown(name, names, "policies", "pl.policy"))
end })
