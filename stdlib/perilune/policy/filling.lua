-- What every policy here does once it knows its order: fill the step.
local filling = {}

--- The entries in this order, as many as there is room for, each with all of its tokens that fit. What does
--- not fit is passed over, or ends the list with `strict`.
---@param entries QueueEntry[]
---@param room Room
---@param plan Plan|nil one that has entries already: `tokens` and `rows` are what they left
---@param tokens integer|nil default: room.tokens
---@param rows integer|nil default: room.rows
---@param strict boolean|nil nobody is passed over
---@return Plan
---@return integer tokens left
---@return integer rows left
function filling.fill(entries, room, plan, tokens, rows, strict)
  plan, tokens, rows = plan or {}, tokens or room.tokens, rows or room.rows
  for _, entry in ipairs(entries) do
    local own = entry.rows >= 1 and entry.rows <= rows and math.min(entry.pending_tokens, math.floor(tokens / entry.rows)) or 0
    if entry.kind == "forward" and own < entry.pending_tokens then own = 0 end   -- it runs whole or not at all
    if own >= 1 then
      plan[#plan + 1] = entry   -- the engine gives it what is left, as counted here, and makes room in memory
      tokens, rows = tokens - own * entry.rows, rows - entry.rows
    elseif strict then
      break
    end
  end
  return plan, tokens, rows
end

--- The queue in two: answers under way, and prompts.
---@param queue QueueEntry[]
---@return QueueEntry[] writing
---@return QueueEntry[] reading
function filling.split(queue)
  local writing, reading = {}, {}
  for _, entry in ipairs(queue) do
    local list = entry.state == "decode" and writing or reading
    list[#list + 1] = entry
  end
  return writing, reading
end

--- Answers under way, then prompts in the order that `before` says.
---@param queue QueueEntry[]
---@param room Room
---@param before fun(a: QueueEntry, b: QueueEntry): boolean
---@return Plan
function filling.prompts_by(queue, room, before)
  local writing, reading = filling.split(queue)
  table.sort(reading, before)
  local plan, tokens, rows = filling.fill(writing, room)
  return (filling.fill(reading, room, plan, tokens, rows))
end

return filling
