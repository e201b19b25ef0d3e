-- Batching policies: who runs next. Each is a constructor that gives { name=, plan=function(queue, room) }.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local fill = require "perilune.policy.fill"
local buckets = require "perilune.policy.buckets"

local policy = {}

--- First in, first out: answers under way go on, then prompts in order of arrival, as much as fits.
---@return table policy
function policy.fifo()
  return { name = "fifo", plan = function(queue, room) return fill(queue, room) end }
end

--- Prompts by length: a step reads prompts of one bucket only, in order of arrival, as many as fit. A
--- bucket holds prompts up to its bound, the last one those beyond all bounds. The prompt that has
--- waited longest says whose turn it is, so none waits forever. Answers under way always go on.
---@param bounds integer[] the most tokens of each bucket, ascending
---@return table policy
function policy.buckets(bounds) return buckets(bounds) end

return setmetatable(policy, { __index = function(t, name)
  local names = {}
  for known in pairs(t) do names[#names + 1] = known end
  local near = type(name) == "string" and core.nearest(name, names)
  return raise("argument", "policy", ("there is no pl.policy.%s"):format(tostring(name)),
    near and ("did you mean pl.policy." .. near .. "?") or ("there are " .. table.concat(names, ", ")))
end })
