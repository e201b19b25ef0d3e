-- A batching policy of your own: shortest first. Edit it; scripts/serve_many.lua runs it.
--
-- A policy is asked before every step. It gets the queue (everyone who waits or runs) and the room
-- there is, and gives back who runs with how many tokens. It may sort the queue: it is a copy of the
-- order, not of the requests. It can be slow or unfair; it cannot be wrong: it never counts memory
-- (what does not fit waits, and the engine makes room), and a plan for more than there is of tokens,
-- rows or work is an error that names the line below.
--
-- A queue entry:  id, state ("waiting", "prefill", "decode"), prompt_tokens, cached_tokens,
--                 pending_tokens (not computed yet: the rest of the prompt, or 1), new_tokens,
--                 max_new_tokens, waited_steps, waited_ms, deadline_ms, priority, client, tag,
--                 rows (more than 1: several answers or beams, each with the tokens planned for it),
--                 pages_needed and pool (for who wants to look at memory all the same)
-- The room:       tokens and rows of this step, pages (free ones, by pool), page_tokens, step, more
local patience = 50   -- after this many steps anyone goes first

local function left_to_do(entry)
  return entry.pending_tokens + entry.max_new_tokens - entry.new_tokens
end

local function before(a, b)
  local a_waited, b_waited = a.waited_steps >= patience, b.waited_steps >= patience
  if a_waited ~= b_waited then return a_waited end
  local a_left, b_left = left_to_do(a), left_to_do(b)
  if a_left ~= b_left then return a_left < b_left end
  return a.id < b.id
end

return function(queue, room)
  table.sort(queue, before)
  local plan, tokens = {}, room.tokens
  for _, entry in ipairs(queue) do
    local n = math.min(entry.pending_tokens, tokens)   -- a long prompt may take several steps
    if n > 0 and #plan < room.rows then
      plan[#plan + 1] = { entry, tokens = n }
      tokens = tokens - n
    end
  end
  return plan
end
