-- Replicas of one model in an engine: which of them takes a request that names none.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"

local replicas = {}

-- Whether two models answer alike, so that it does not matter which is asked.
local function same(a, b)
  local s, t = rawget(a, "state_"), rawget(b, "state_")
  local as_stored = not (s.converted or t.converted or s.checkpoint:changed() or t.checkpoint:changed())
  return a == b or as_stored and s.path == t.path and s.family == t.family and s.head == t.head and s.compute == t.compute
    and s.cache_dtype == t.cache_dtype and table.concat(a.adapters or {}, "\n") == table.concat(b.adapters or {}, "\n")
end

--- The replicas among an engine's models; nil where there is one model, or they differ.
---@param models Model[]
---@return table[]|nil list of { model=, device=, taken= (requests so far), lines= }
function replicas.of(models)
  if #models < 2 then return nil end
  local list = {}
  for i, m in ipairs(models) do
    if not same(models[1], m) then return nil end
    list[i] = { model = m, device = m.device, taken = 0, lines = {} }
  end
  return list
end

local function unfinished(replica)
  local left = {}
  for _, line in ipairs(replica.lines) do
    if line.state ~= "done" then left[#left + 1] = line end
  end
  replica.lines = left
  return #left
end

--- What a policy sees of them.
---@param list table[]
---@return table[] list of { model=, device=, unfinished=, taken= }
function replicas.seen(list)
  local out = {}
  for i, replica in ipairs(list) do
    out[i] = { model = replica.model, device = replica.device, unfinished = unfinished(replica), taken = replica.taken }
  end
  return out
end

--- Who takes a request: as the policy says (its `replica`), else who has the fewest to do, the first of those.
---@param list table[]
---@param policy table|function
---@param request table { kind=, client=, tag=, priority=, deadline_ms= }
---@return integer
function replicas.choose(list, policy, request)
  local seen = replicas.seen(list)
  local chooser = type(policy) == "table" and policy.replica
  if chooser then
    local chosen = chooser(request, seen)
    for i, replica in ipairs(list) do
      if chosen == i or chosen == replica.model then return i end
    end
    raise("policy", "submit", ("the policy chose replica %s of %d"):format(kind.of(chosen) or options.show(chosen), #list),
      "replica=function(request, replicas) gives a place in replicas, or its model")
  end
  local best = 1
  for i, replica in ipairs(seen) do
    if replica.unfinished < seen[best].unfinished then best = i end
  end
  return best
end

--- The request is this replica's.
---@param replica table
---@param line Request
function replicas.note(replica, line)
  replica.taken, replica.lines[#replica.lines + 1] = replica.taken + 1, line
end

return replicas
