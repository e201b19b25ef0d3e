-- fill-mask: the likeliest tokens where a text has the tokenizer's mask. One mask: a list of
-- { id, piece, score, text }; several: a list of such lists. A long text is read in windows (stride=); a mask in
-- several of them has their probabilities' mean, or the largest (join=).
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "masked" }, head = "masked",
  spec = rows.with { top_k = "positive", targets = "string|table", join = { "mean", "max" } },
}

function task.prepare(p)
  local mask = p.tokenizer.specials.mask
  if not mask then raise("argument", p.task, "the tokenizer has no mask token") end
  p.mask_ = mask
end

-- Ids of the words to choose among.
local function target_ids(p)
  local targets, ids, seen = p.options.targets, {}, {}
  if targets == nil then return nil end
  for _, word in ipairs(type(targets) == "string" and { targets } or targets) do
    if type(word) ~= "string" then raise("option", p.task, "option targets: expected words, got " .. options.show(word)) end
    local id = p.tokenizer:id(word) or p.tokenizer:ids(word, { special = false })[1]
    if id and not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
  if #ids == 0 then raise("option", p.task, "option targets: no word of it has a token") end
  table.sort(ids)
  return ids
end

-- Where a token of a text stands, whatever window it is in.
local function key_of(token) return (token.pair and "pair " or "") .. tostring(token.first) end

-- The masks of a list of tokens: key → position.
local function masks_of(p, tokens)
  local places, order = {}, {}
  for i, token in ipairs(tokens) do
    if token.id == p.mask_ and token.first then
      order[#order + 1] = key_of(token)
      places[order[#order]] = i
    end
  end
  return places, order
end

function task.begin(p, input)
  local batch = rows.encode(p, rows.text(input, p.task))
  local job = rows.windows(batch)
  local whole = batch.size == 1 and batch or p.tokenizer:encode(input)
  job.ids = whole:row(1).ids
  job.places, job.order = masks_of(p, whole:row(1).tokens())
  if #job.order == 0 then
    raise("argument", p.task, "the text has no mask: " .. options.show(input), ("put %s where a word is missing"):format(p.tokenizer:piece(p.mask_)))
  end
  return job
end

-- The best ids at one place, by their probabilities.
local function fill(p, job, scores, place)
  local list = {}
  local targets, order = target_ids(p), {}
  if targets then
    for i, id in ipairs(targets) do order[i] = id + 1 end
    table.sort(order, function(a, b) return scores[a] > scores[b] end)
  else
    order = rows.order(scores)
  end
  local pad = p.tokenizer.specials.pad
  for i = 1, math.min(p.options.top_k or 5, #order) do
    local id = order[i] - 1
    local text = {}
    for at, other in ipairs(job.ids) do
      local here = at == place and id or other
      if here ~= pad then text[#text + 1] = here end
    end
    list[i] = { id = id, piece = p.tokenizer:decode({ id }, { special = true }), score = scores[order[i]],
      text = p.tokenizer:decode(text, { special = #job.order > 1 }) }
  end
  return list
end

function task.finish(p, _, job)
  local scores, lists = {}, {}
  for w, result in ipairs(job.results) do
    local places, order = masks_of(p, job.tokens[w])
    for _, key in ipairs(order) do
      scores[key] = scores[key] or {}
      table.insert(scores[key], rows.softmax(result.outputs.logits:at { token = places[key] }:tolist()))
    end
  end
  for i, key in ipairs(job.order) do lists[i] = fill(p, job, rows.join(p.options.join, scores[key]), job.places[key]) end
  return #lists == 1 and lists[1] or lists
end

return task
