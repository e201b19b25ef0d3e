-- The highest priority first, answers under way and prompts alike. Every `ageing_ms` since it was asked count as
-- one step of priority, so that the lowest gets its turn as well.
local filling = require "perilune.policy.filling"

return function(opts)
  local ageing = opts and opts.ageing_ms or 1000
  local asked = setmetatable({}, { __mode = "k" })   -- entries persist between steps
  return { name = "priority", plan = function(queue, room)
    local rank = {}
    for _, entry in ipairs(queue) do
      asked[entry] = asked[entry] or room.now_ms - entry.waited_ms
      rank[entry] = entry.priority + (room.now_ms - asked[entry]) / ageing
    end
    table.sort(queue, function(a, b)
      if rank[a] ~= rank[b] then return rank[a] > rank[b] end
      return a.id < b.id
    end)
    return (filling.fill(queue, room))
  end }
end
