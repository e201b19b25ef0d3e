-- The least left to do goes first: the mean wait is the shortest there is. A long prompt could wait for ever
-- where short ones keep coming, so that after `patience` steps without a turn anyone goes first.
local filling = require "perilune.policy.filling"

local function left(entry) return entry.pending_tokens + entry.max_new_tokens - entry.new_tokens end

return function(opts)
  local patience = opts and opts.patience or 50
  local function before(a, b)
    local a_late, b_late = a.waited_steps >= patience, b.waited_steps >= patience
    if a_late ~= b_late then return a_late end
    if not a_late and left(a) ~= left(b) then return left(a) < left(b) end
    return a.id < b.id
  end
  return { name = "shortest_first", plan = function(queue, room) return filling.prompts_by(queue, room, before) end }
end
