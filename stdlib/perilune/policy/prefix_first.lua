-- Requests that begin alike, one after the other: the first of a group reads the common beginning, the others
-- wait until it has, and find it among the pages that are kept. Groups are by tag, or by what `group(entry)`
-- says; who has no group runs in turn. Prompts of which most is kept go first; after `patience` steps anyone does.
local filling = require "perilune.policy.filling"

return function(opts)
  local group_of = opts and opts.group or function(entry) return entry.tag end
  local patience, warm = opts and opts.patience or 50, {}
  local function before(a, b)
    local a_late, b_late = a.waited_steps >= patience, b.waited_steps >= patience
    if a_late ~= b_late then return a_late end
    if not a_late and a.cached_tokens ~= b.cached_tokens then return a.cached_tokens > b.cached_tokens end
    return a.id < b.id
  end
  -- The first of every group whose beginning nobody has read, and all others.
  local function turns(reading)
    local list, leads, here = {}, {}, {}
    for _, entry in ipairs(reading) do
      local group = group_of(entry)
      if group ~= nil then here[group] = true end
      if group == nil or warm[group] or not leads[group] or entry.waited_steps >= patience then
        list[#list + 1] = entry
        if group ~= nil then leads[group] = true end
      end
    end
    return list, here
  end
  local function keep_warm(writing, here)
    local kept = {}
    for group in pairs(here) do kept[group] = warm[group] end
    for _, entry in ipairs(writing) do
      local group = group_of(entry)
      if group ~= nil then kept[group] = true end
    end
    warm = kept
  end
  return { name = "prefix_first",
    plan = function(queue, room)
      table.sort(queue, function(a, b) return a.id < b.id end)
      local writing, reading = filling.split(queue)
      for _, entry in ipairs(writing) do
        local group = group_of(entry)
        if group ~= nil then warm[group] = true end
      end
      local list, here = turns(reading)
      keep_warm(writing, here)
      table.sort(list, before)
      local plan, tokens, rows = filling.fill(writing, room)
      return (filling.fill(list, room, plan, tokens, rows))
    end,
    finished = function(entry)
      local group = group_of(entry)
      if group ~= nil then warm[group] = true end
    end }
end
