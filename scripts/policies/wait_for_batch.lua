-- A step costs nearly the same for one text as for eight: texts that come one by one wait for each other, at most
-- `patience_ms`, until `wanted` are there. Answers under way are never held up.
--
--     perilune simulate scripts/policies/wait_for_batch.lua LENGTHS.txt
local wanted, patience_ms = 8, 20

return function(queue, room)
  local writing, new, longest = {}, {}, 0
  for _, entry in ipairs(queue) do
    if entry.state == "waiting" then
      new[#new + 1], longest = entry, math.max(longest, entry.waited_ms)
    else
      writing[#writing + 1] = entry
    end
  end
  local formed = #new >= wanted or longest >= patience_ms or not room.more
  if formed then for _, entry in ipairs(new) do writing[#writing + 1] = entry end end
  if #writing == 0 and #new > 0 then return { wait_ms = math.max(0.1, patience_ms - longest) } end
  return writing   -- in this order, as many as fit; the engine cuts the last one
end
