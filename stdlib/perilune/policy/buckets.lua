-- Prompts by length. pl.policy.buckets{ … } is the engine's own, which plans the same without calling Lua; this
-- is it in words, to read and to copy.
local filling = require "perilune.policy.filling"

return function(bounds)
  local function bucket_of(entry)
    for i, bound in ipairs(bounds) do if entry.prompt_tokens <= bound then return i end end
    return #bounds + 1
  end
  return { name = "buckets", plan = function(queue, room)
    local writing, reading = filling.split(queue)
    local turn, alike = reading[1] and bucket_of(reading[1]), {}              -- the prompt that came first
    for _, entry in ipairs(reading) do if bucket_of(entry) == turn then alike[#alike + 1] = entry end end
    local plan, tokens, rows = filling.fill(writing, room)
    return (filling.fill(alike, room, plan, tokens, rows, true))
  end }
end
