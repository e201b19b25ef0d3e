-- As fifo, but what does not fit is passed over. pl.policy.fill() is the engine's own, which plans the same
-- without calling Lua; this is it in words, to read and to copy.
local filling = require "perilune.policy.filling"

return function()
  return { name = "fill", plan = function(queue, room)
    local writing, reading = filling.split(queue)
    local plan, tokens, rows = filling.fill(writing, room)
    return (filling.fill(reading, room, plan, tokens, rows))
  end }
end
