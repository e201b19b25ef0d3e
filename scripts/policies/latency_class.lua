-- Two classes of requests: someone waits in front of a screen for those with priority 1 or more, nobody for the
-- rest. The first class goes at once and whole; the rest shares what is left of a step, at least a quarter of it,
-- so that it never stands still.
--
--     perilune simulate scripts/policies/latency_class.lua LENGTHS.txt
local least_share = 0.25

return function(queue, room)
  local fast, slow = {}, {}
  for _, entry in ipairs(queue) do
    local list = entry.priority >= 1 and fast or slow
    list[#list + 1] = entry
  end
  local plan, tokens, rows = {}, room.tokens, room.rows
  -- Entries in order of arrival, answers under way before prompts; `most`: tokens of this class.
  local function take(list, most, most_rows)
    table.sort(list, function(a, b)
      if a.state ~= b.state and (a.state == "decode" or b.state == "decode") then return a.state == "decode" end
      return a.id < b.id
    end)
    for _, entry in ipairs(list) do
      local n = math.min(entry.pending_tokens, math.floor(most / math.max(1, entry.rows)))
      if n >= 1 and entry.rows >= 1 and entry.rows <= most_rows and (entry.kind == "generate" or n == entry.pending_tokens) then
        plan[#plan + 1] = { entry, tokens = n }
        most, tokens = most - n * entry.rows, tokens - n * entry.rows
        most_rows, rows = most_rows - entry.rows, rows - entry.rows
      end
    end
  end
  local kept = #slow > 0 and least_share or 0
  take(fast, room.tokens - math.floor(kept * room.tokens), room.rows - math.floor(kept * room.rows))
  take(slow, tokens, rows)
  if #plan == 0 then return queue end   -- what must run whole and is larger than a share
  return plan
end
