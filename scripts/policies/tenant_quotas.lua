-- Every client has a quota of tokens a second and may save up two seconds of it; who is over the quota waits,
-- unless nobody else wants the machine. Clients without a quota of their own have the usual one.
--
--     perilune simulate scripts/policies/tenant_quotas.lua LENGTHS.txt
local usual, quotas, saved_seconds = 2000, { trial = 200 }, 2

local level, at = {}, nil   -- tokens that a client may spend now

local function refill(now)
  local seconds = at and (now - at) / 1e3 or 0
  at = now
  for client, tokens in pairs(level) do
    local quota = quotas[client] or usual
    level[client] = math.min(quota * saved_seconds, tokens + quota * seconds)
  end
end

return function(queue, room)
  refill(room.now_ms)
  local plan, tokens, rows = {}, room.tokens, room.rows
  local function take(entry)
    local n = math.min(entry.pending_tokens, math.floor(tokens / math.max(1, entry.rows)))
    if n < 1 or entry.rows < 1 or entry.rows > rows or entry.kind == "forward" and n < entry.pending_tokens then return end
    plan[#plan + 1] = { entry, tokens = n }
    tokens, rows = tokens - n * entry.rows, rows - entry.rows
    level[entry.client or ""] = level[entry.client or ""] - n * entry.rows
  end
  local over = {}
  for _, entry in ipairs(queue) do
    local client = entry.client or ""
    level[client] = level[client] or (quotas[client] or usual) * saved_seconds
    if level[client] > 0 then take(entry) else over[#over + 1] = entry end
  end
  if #plan == 0 then for _, entry in ipairs(over) do take(entry) end end
  return plan
end
