-- Prompts of like length run together, and each step is padded: what an accelerator that wants rectangles would be
-- given. The bounds grow by half, so that at most a third of a step is padding. Who has waited longest says whose
-- turn it is.
--
--     perilune simulate scripts/policies/by_length.lua LENGTHS.txt
local function bucket_of(tokens)
  local bound = 8
  while tokens > bound do bound = math.ceil(bound * 1.5) end
  return bound
end

return function(queue, room)
  local writing, reading = {}, {}
  for _, entry in ipairs(queue) do
    local list = entry.state == "decode" and writing or reading
    list[#list + 1] = entry
  end
  local plan, tokens, rows = { layout = "padded" }, room.tokens, room.rows
  local function take(entry)
    local n = math.min(entry.pending_tokens, math.floor(tokens / math.max(1, entry.rows)))
    if n < entry.pending_tokens and #plan > 0 or n < 1 or entry.rows < 1 or entry.rows > rows then return end
    plan[#plan + 1] = entry
    tokens, rows = tokens - n * entry.rows, rows - entry.rows
  end
  -- Answers write one token each: together with prompts they would be padded to them.
  local turn = reading[1] and (room.step % 2 == 0 or #writing == 0) and bucket_of(reading[1].pending_tokens)
  if turn then
    for _, entry in ipairs(reading) do if bucket_of(entry.pending_tokens) == turn then take(entry) end end
  else
    for _, entry in ipairs(writing) do take(entry) end
  end
  return plan
end
