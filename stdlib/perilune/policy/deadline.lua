-- The earliest deadline first; requests without one come last, in order of arrival. What cannot make its
-- deadline any more is dropped, and its result says so: late already, or late at the pace of the last steps
-- with all that it may write. (`judge = "first_token"`: with its prompt alone.)
local filling = require "perilune.policy.filling"

local function before(a, b)
  local a_by, b_by = a.deadline_ms or math.huge, b.deadline_ms or math.huge
  if a_by ~= b_by then return a_by < b_by end
  return a.id < b.id
end

return function(opts)
  local whole = not (opts and opts.judge == "first_token")
  local last_ms, step_ms   -- when it was last asked; how long a step takes
  local function pace(now, planned)
    if last_ms and now > last_ms then step_ms = step_ms and 0.8 * step_ms + 0.2 * (now - last_ms) or now - last_ms end
    last_ms = planned and now or nil
  end
  local function reason(entry, room)
    if not entry.deadline_ms then return nil end
    if room.now_ms >= entry.deadline_ms then
      return ("deadline: %.0f ms too late"):format(room.now_ms - entry.deadline_ms)
    end
    local more = whole and math.max(0, entry.max_new_tokens - entry.new_tokens - 1) or 0
    local steps = math.ceil(entry.pending_tokens / room.tokens) + more
    local done = room.now_ms + steps * (step_ms or 0)
    if done <= entry.deadline_ms then return nil end
    return ("deadline: %d steps of %.3g ms would end %.0f ms too late"):format(steps, step_ms, done - entry.deadline_ms)
  end
  return { name = "deadline", plan = function(queue, room)
    pace(room.now_ms, #queue > 0)
    local able, drop = {}, {}
    for _, entry in ipairs(queue) do
      local why = reason(entry, room)
      if why then drop[#drop + 1] = { entry, reason = why } else able[#able + 1] = entry end
    end
    table.sort(able, before)
    local plan = filling.fill(able, room)
    plan.drop = drop
    return plan
  end }
end
