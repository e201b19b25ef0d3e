-- No step computes more than `tokens`: answers under way first, prompts in parts of what is left. The gap
-- between two tokens of an answer is then bounded, however long the prompts are that come in.
local filling = require "perilune.policy.filling"

return function(opts)
  local most = type(opts) == "number" and opts or opts and opts.tokens or 256
  return { name = "token_budget", plan = function(queue, room)
    local writing, reading = filling.split(queue)
    local plan, tokens, rows = {}, math.min(most, room.tokens), room.rows
    for _, entry in ipairs(queue) do   -- what cannot be cut may be larger than the budget
      if entry.kind == "forward" then tokens = math.min(room.tokens, math.max(tokens, entry.pending_tokens)) end
    end
    plan, tokens, rows = filling.fill(writing, room, plan, tokens, rows)
    for _, entry in ipairs(reading) do
      local own = entry.rows >= 1 and entry.rows <= rows and math.min(entry.pending_tokens, math.floor(tokens / entry.rows)) or 0
      if own < 1 or entry.kind == "forward" and own < entry.pending_tokens then break end
      plan[#plan + 1] = own == entry.pending_tokens and entry or { entry, tokens = own }
      tokens, rows = tokens - own * entry.rows, rows - entry.rows
    end
    return plan
  end }
end
