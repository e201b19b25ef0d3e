-- fill-mask: the likeliest tokens where a text has the tokenizer's mask. One mask: a list of
-- { id, piece, score, text }; several: a list of such lists.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "masked" }, head = "masked",
  spec = { truncate = rows.spec.truncate, top_k = "positive", targets = "string|table" },
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

function task.begin(p, input)
  local batch = rows.encode(p, rows.text(input, p.task))
  local ids, places = batch:row(1).ids, {}
  for i, id in ipairs(ids) do if id == p.mask_ then places[#places + 1] = i end end
  if #places == 0 then
    raise("argument", p.task, "the text has no mask: " .. options.show(input), ("put %s where a word is missing"):format(p.tokenizer:piece(p.mask_)))
  end
  return { rows = { { input = batch } }, ids = ids, places = places }
end

-- The best ids at one place.
local function fill(p, job, logits, place)
  local scores, list = rows.softmax(logits), {}
  local targets, order = target_ids(p), {}
  if targets then
    for i, id in ipairs(targets) do order[i] = id + 1 end
    table.sort(order, function(a, b) return scores[a] > scores[b] end)
  else
    order = rows.order(scores)
  end
  local text = {}
  for i, id in ipairs(job.ids) do text[i] = id end
  for i = 1, math.min(p.options.top_k or 5, #order) do
    local id = order[i] - 1
    text[place] = id
    list[i] = { id = id, piece = p.tokenizer:decode({ id }, { special = true }), score = scores[order[i]],
      text = p.tokenizer:decode(text, { special = #job.places > 1 }) }
  end
  return list
end

function task.finish(p, _, job)
  local logits, lists = job.results[1].outputs.logits, {}
  for i, place in ipairs(job.places) do
    lists[i] = fill(p, job, logits:at { token = place }:tolist(), place)
  end
  return #lists == 1 and lists[1] or lists
end

return task
