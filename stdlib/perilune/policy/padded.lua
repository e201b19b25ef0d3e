-- Batches as they are without an engine: `rows` requests at a time, padded to the longest, and the next ones
-- only when all of them are done. It is here to show what that costs; no answer differs.
local filling = require "perilune.policy.filling"

return function(opts)
  local size, batch = opts and opts.rows or 8, {}
  return { name = "padded", plan = function(queue, room)
    local running = {}
    for _, entry in ipairs(queue) do if batch[entry.id] then running[#running + 1] = entry end end
    if #running == 0 then
      batch = {}
      for i = 1, math.min(size, room.rows, #queue) do
        batch[queue[i].id], running[i] = true, queue[i]
      end
    end
    -- All read their prompts before any writes on: one padded rectangle after the other.
    local writing, reading = filling.split(running)
    local plan = filling.fill(#reading > 0 and reading or writing, room)
    plan.layout = "padded"
    return plan
  end }
end
