-- First-fit decreasing on tokens: prompts are packed whole into steps, the longest first, each into the first
-- step that still holds it. The step with the prompt that came first runs, so that none waits for ever.
-- (D. S. Johnson, Near-optimal bin packing algorithms, 1973)
local filling = require "perilune.policy.filling"

local function size_of(entry) return entry.pending_tokens * math.max(1, entry.rows) end

local function longer(a, b)
  if size_of(a) ~= size_of(b) then return size_of(a) > size_of(b) end
  return a.id < b.id
end

-- The bin with the oldest prompt.
local function pack(reading, tokens, rows)
  local oldest = reading[1]
  table.sort(reading, longer)
  local bins, chosen = {}, nil
  for _, entry in ipairs(reading) do
    local home
    for _, bin in ipairs(bins) do
      if bin.tokens + size_of(entry) <= tokens and bin.rows + entry.rows <= rows then
        home = bin
        break
      end
    end
    if not home then
      home = { tokens = 0, rows = 0 }
      bins[#bins + 1] = home
    end
    home[#home + 1], home.tokens, home.rows = entry, home.tokens + size_of(entry), home.rows + entry.rows
    if entry == oldest then chosen = home end
  end
  return chosen or {}
end

return function()
  return { name = "bin_pack", plan = function(queue, room)
    local writing, reading = filling.split(queue)
    local plan, tokens, rows = filling.fill(writing, room)
    if not reading[1] or tokens < 1 or rows < 1 then return plan end
    return (filling.fill(pack(reading, tokens, rows), room, plan, tokens, rows))
  end }
end
