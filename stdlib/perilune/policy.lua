-- Batching policies: who runs next. Each is a constructor that gives { name=, plan=function(queue, room) }.
local core = require "perilune.core"
local raise = require "perilune.raise"

local policy = {}

-- Pages that `tokens` more positions take.
local function pages_for(entry, tokens, page_tokens)
  if page_tokens <= 0 then return 0 end
  return math.ceil((entry.cached_tokens + tokens) / page_tokens) - math.ceil(entry.cached_tokens / page_tokens)
end

local function held_pages(entry, page_tokens)
  return page_tokens > 0 and math.ceil(entry.cached_tokens / page_tokens) or 0
end

-- Takes pages from the youngest requests that run and are not planned yet, until `needed` are free.
local function make_room(queue, from, plan, left, needed, page_tokens)
  for i = #queue, from + 1, -1 do
    if left.pages >= needed then return true end
    local victim = queue[i]
    if held_pages(victim, page_tokens) > 0 and victim.kind == "generate" and not left.preempted[victim.id] then
      plan.preempt = plan.preempt or {}
      plan.preempt[#plan.preempt + 1] = victim
      left.preempted[victim.id] = true
      left.pages = left.pages + held_pages(victim, page_tokens)
    end
  end
  return left.pages >= needed
end

local function first_in_first_out(queue, room)
  local plan = {}
  local left = { tokens = room.tokens, rows = room.rows, pages = room.pages, preempted = {} }
  -- Answers under way go on first: they need one token each, and someone is reading them.
  for _, decoding in ipairs { true, false } do
    for i, entry in ipairs(queue) do
      if (entry.state == "decode") == decoding and not left.preempted[entry.id] and left.rows > 0 and left.tokens > 0 then
        local whole = entry.kind == "forward"
        local tokens = math.min(entry.pending_tokens, left.tokens)
        local fits = not whole or tokens == entry.pending_tokens
        local pages = fits and not whole and pages_for(entry, tokens, room.page_tokens) or 0
        -- A prompt that has not started waits until the pool holds all of it.
        local started = entry.cached_tokens > 0
        local asked = not whole and not started and pages_for(entry, entry.pending_tokens, room.page_tokens) or pages
        if fits and (asked <= left.pages or (started and make_room(queue, i, plan, left, asked, room.page_tokens))) then
          plan[#plan + 1] = { entry, tokens = tokens }
          left.tokens, left.rows, left.pages = left.tokens - tokens, left.rows - 1, left.pages - pages
        elseif not decoding then
          break   -- in order: nobody overtakes
        end
      end
    end
  end
  return plan
end

--- First in, first out: answers under way go on, then prompts in order of arrival, as much as fits.
---@return table policy
function policy.fifo()
  return { name = "fifo", plan = first_in_first_out }
end

return setmetatable(policy, { __index = function(t, name)
  local names = {}
  for known in pairs(t) do names[#names + 1] = known end
  local near = type(name) == "string" and core.nearest(name, names)
  return raise("argument", "policy", ("there is no pl.policy.%s"):format(tostring(name)),
    near and ("did you mean pl.policy." .. near .. "?") or ("there are " .. table.concat(names, ", ")))
end })
