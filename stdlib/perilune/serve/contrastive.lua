-- Contrastive search (Su et al. 2022, arXiv:2202.06417): of the top_k likeliest tokens that one is chosen whose hidden state
-- is far from all that are there, weighed against its probability by penalty_alpha.
local core = require "perilune.core"
local forward = require "perilune.run.forward"
local beside = require "perilune.serve.beside"

local contrastive = {}

local op = "penalty_alpha"

local function unit(t) return t:detach() / t:norm "hidden" end

-- What a text's tokens look like to the model's head, each of length 1; the cache goes on.
local function hidden_of(m, rows, cache, adapter, path)
  local results = forward.compute(m, rows, { cache = cache, adapter = adapter }, op, { main = { path } })
  return unit(results[path])
end

-- Brings what is held up to the ids: by the candidate that was chosen, or where something else was by a pass.
local function follow(m, held, ids, o, path)
  local seen = held.cache.length
  if held.branches and #ids == seen + 1 then
    for i, id in ipairs(held.candidates) do
      if id == ids[#ids] then
        beside.release(held.cache)
        held.cache = held.branches:fork { i }
        held.context = core.cat({ held.context, held.hidden:at { token = { i, i } } }, "token")
        return
      end
    end
  end
  local rest = {}
  for i = seen + 1, #ids do rest[#rest + 1] = ids[i] end
  local hidden = hidden_of(m, { rest }, held.cache, o.adapter, path)
  held.context = held.context and core.cat({ held.context, hidden }, "token") or hidden
end

-- The candidates of a row: ids and probabilities, the likeliest first.
local function candidates(row, most)
  local chances, ids = row:softmax "vocab":topk(most, "vocab")
  local kept, list = {}, {}
  chances, ids = chances:tolist(), ids:tolist()
  for i, chance in ipairs(chances) do
    if chance > 0 or i == 1 then kept[#kept + 1], list[#list + 1] = chance, ids[i] end
  end
  return list, kept
end

-- The first of the best by (1 - alpha) * probability - alpha * (greatest cosine with a token that is there).
local function choose(held, chances, alpha)
  local nearest = held.hidden:matmul(held.context:rename { token = "before" }, { over = "hidden" }):max "before":tolist()
  local best, found = -math.huge, 1
  for i, chance in ipairs(chances) do
    local score = (1 - alpha) * chance - alpha * nearest[i]
    if score > best then best, found = score, i end
  end
  return found
end

--- What leaves a row one token: the one that contrastive search chooses. It is the last of a request's processors, and
--- computes by itself a prompt once and for each token a pass of `most` rows, whose pages are the model's own.
---@param m Model
---@param alpha number penalty_alpha
---@param most integer top_k
---@param o table options of the request: adapter
---@return fun(row: Tensor, state: table)
function contrastive.chooser(m, alpha, most, o)
  local path = forward.last_hidden_path(m)
  local texts = setmetatable({}, { __mode = "k" })
  return function(row, state)
    local held = texts[state] or beside.hold(state.request, { cache = m:cache() })
    texts[state] = held
    follow(m, held, state.ids, o, path)
    local ids, chances = candidates(row, most)
    held.candidates = ids
    local rows, same = {}, {}
    for i, id in ipairs(ids) do rows[i], same[i] = { id }, 1 end
    local limit = rawget(m, "state_").c.max_tokens
    local found = 1
    if not limit or #state.ids < limit then   -- the last position has no pass after it
      beside.release(held.branches)
      held.branches = held.cache:fork(same)
      held.hidden = hidden_of(m, rows, held.branches, o.adapter, path)
      found = choose(held, chances, alpha)
    end
    row:set(-math.huge)
    row:set(chances[found], { vocab = held.candidates[found] })
  end
end

return contrastive
