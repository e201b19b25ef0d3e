-- What fits into a step: the part that the shipped policies share. A request of several answers or
-- beams takes `rows` rows of a step, each with the tokens planned for it.

-- Pages that `tokens` more positions take.
local function pages_for(entry, tokens, page_tokens)
  if page_tokens <= 0 then return 0 end
  return (entry.rows or 1) * (math.ceil((entry.cached_tokens + tokens) / page_tokens) - math.ceil(entry.cached_tokens / page_tokens))
end

local function held_pages(entry, page_tokens)
  return page_tokens > 0 and math.ceil(entry.cached_tokens / page_tokens) or 0
end

-- Takes pages from the youngest requests that run and are not planned yet, until `needed` are free.
local function make_room(queue, from, plan, left, needed, page_tokens)
  for i = #queue, from + 1, -1 do
    if left.pages >= needed then return true end
    local victim = queue[i]
    if held_pages(victim, page_tokens) > 0 and victim.kind == "generate" and not left.taken[victim.id] then
      plan.preempt = plan.preempt or {}
      plan.preempt[#plan.preempt + 1] = victim
      left.taken[victim.id] = true
      left.pages = left.pages + held_pages(victim, page_tokens)
    end
  end
  return left.pages >= needed
end

--- A plan of whom `runs` lets through, in the queue's order, as much as fits: answers under way first.
--- What goes on and lacks pages takes them from the youngest requests that are not planned.
---@param queue table[]
---@param room table
---@param runs (fun(entry: table): boolean)|nil default: everyone
---@return table plan
return function(queue, room, runs)
  local plan = {}
  local left = { tokens = room.tokens, rows = room.rows, pages = room.pages, taken = {} }   -- planned or preempted
  -- Answers under way go on first: they need one token each, and someone is reading them.
  for _, decoding in ipairs { true, false } do
    for i, entry in ipairs(queue) do
      local wanted = (entry.state == "decode") == decoding and (not runs or runs(entry))
      if wanted and not left.taken[entry.id] and left.rows > 0 and left.tokens > 0 then
        local whole = entry.kind == "forward"
        local rows = entry.rows or 1
        local tokens = rows <= left.rows and math.min(entry.pending_tokens, math.floor(left.tokens / rows)) or 0
        local fits = not whole or tokens == entry.pending_tokens
        local pages = fits and not whole and pages_for(entry, tokens, room.page_tokens) or 0
        -- A prompt that has not started waits until the pool holds all of it.
        local started = entry.cached_tokens > 0
        local asked = not whole and not started and pages_for(entry, entry.pending_tokens, room.page_tokens) or pages
        if fits and tokens > 0 and (asked <= left.pages or (started and make_room(queue, i, plan, left, asked, room.page_tokens))) then
          -- Beams share pages: how many more they need the engine knows.
          plan[#plan + 1] = { entry, tokens = rows == 1 and tokens or nil }
          left.taken[entry.id] = true
          left.tokens, left.rows, left.pages = left.tokens - rows * tokens, left.rows - rows, left.pages - pages
        elseif not decoding then
          break   -- in order: nobody overtakes
        end
      end
    end
  end
  return plan
end
