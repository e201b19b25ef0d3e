-- pl.policy.buckets{ 16, 64, 256 }: prompts of like length run together. Padded in a model that pads,
-- they waste little; here, where nothing is padded, they take steps of even size, so that a short
-- prompt does not wait for a long one to be read beside it.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local fill = require "perilune.policy.fill"

local function check(bounds)
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

return function(bounds)
  check(bounds)
  local limits = {}   -- the caller may change its list later
  for i, bound in ipairs(bounds) do limits[i] = bound end

  local function bucket_of(entry)
    for i, limit in ipairs(limits) do if entry.prompt_tokens <= limit then return i end end
    return #limits + 1
  end

  local function plan(queue, room)
    local turn   -- the bucket of the first prompt that is not read yet: the queue is in order of arrival
    for _, entry in ipairs(queue) do
      if entry.state ~= "decode" then
        turn = bucket_of(entry)
        break
      end
    end
    return fill(queue, room, function(entry) return entry.state == "decode" or bucket_of(entry) == turn end)
  end

  return { name = "buckets", plan = plan }
end
