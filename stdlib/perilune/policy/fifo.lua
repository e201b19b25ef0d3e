-- First in, first out. pl.policy.fifo() is the engine's own, which plans the same without calling Lua; this is
-- it in words, to read and to copy.
local filling = require "perilune.policy.filling"

return function()
  return { name = "fifo", plan = function(queue, room)
    local writing, reading = filling.split(queue)                             -- someone reads what is being written
    local plan, tokens, rows = filling.fill(writing, room)
    return (filling.fill(reading, room, plan, tokens, rows, true))            -- in order, until one does not fit
  end }
end
