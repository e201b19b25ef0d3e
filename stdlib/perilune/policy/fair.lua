-- Every client gets the same number of tokens, or its share by `weights = { client = 2 }`. Who has had least
-- goes next; who comes anew begins level with the one that has had least, so that nobody saves up turns.
-- (start-time fair queueing: P. Goyal, H. Vin, H. Cheng, 1996)
local function by_client(queue)
  local lists, names = {}, {}
  for _, entry in ipairs(queue) do
    local name = entry.client or ""
    if not lists[name] then lists[name], names[#names + 1] = {}, name end
    table.insert(lists[name], entry)
  end
  return lists, names
end

return function(opts)
  local weights, had = opts and opts.weights or {}, {}
  -- What clients had, of those that are here; others are forgotten.
  local function account(names)
    local least = math.huge
    for _, name in ipairs(names) do least = math.min(least, had[name] or math.huge) end
    local now = {}
    for _, name in ipairs(names) do now[name] = had[name] or least < math.huge and least or 0 end
    had = now
  end
  return { name = "fair", plan = function(queue, room)
    local lists, names = by_client(queue)
    account(names)
    local plan, tokens, rows, at = {}, room.tokens, room.rows, {}
    while true do
      local poorest
      for _, name in ipairs(names) do
        if lists[name][(at[name] or 0) + 1] and (not poorest or had[name] < had[poorest]) then poorest = name end
      end
      if not poorest then return plan end
      at[poorest] = (at[poorest] or 0) + 1
      local entry = lists[poorest][at[poorest]]
      local own = entry.rows >= 1 and entry.rows <= rows and math.min(entry.pending_tokens, math.floor(tokens / entry.rows)) or 0
      if own >= 1 and (entry.kind == "generate" or own == entry.pending_tokens) then
        plan[#plan + 1] = entry
        tokens, rows = tokens - own * entry.rows, rows - entry.rows
        had[poorest] = had[poorest] + own * entry.rows / (weights[poorest] or 1)
      end
    end
  end }
end
