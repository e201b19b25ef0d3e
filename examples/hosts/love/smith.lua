-- The smith: what he is asked to go on with.
local smith = {}

local beginnings = { "The old smith was grumpy. He said", "One day, the smith made a knife", "The smith looked at the fire and" }

function smith.line(turn) return beginnings[(turn - 1) % #beginnings + 1] end

return smith
