-- token-classification: a label for every token, or for the words and groups that tokens make
-- (aggregation_strategy, as published). → list of { label, score, word, text, first, last }: `word` as
-- the tokenizer decodes it, `text` = input:sub(first, last). A long text is read in windows that share
-- `stride` tokens. As published, each window is read by itself and of entities that overlap the longer
-- stays; with join= (and for single tokens) every token has the mean of its windows' probabilities, the
-- largest, or their vote.
local raise = require "perilune.base.raise"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "token" }, head = "token",
  spec = rows.with { ignore_labels = "table", aggregation_strategy = { "none", "simple", "first", "average", "max" },
    join = { "mean", "max", "vote" } },
}

function task.begin(p, input)
  local text = rows.text(input, p.task)
  if type(text) ~= "string" then raise("argument", p.task, "a pair of texts has no single place for a label") end
  return rows.windows(rows.encode(p, text))
end

local function best(scores)
  local at = 1
  for i = 2, #scores do if scores[i] > scores[at] then at = i end end
  return at, scores[at]
end

-- Characters of a text, for what the published rule compares.
local function characters(text)
  local count = 0
  for _ in text:gmatch "[^\128-\191]" do count = count + 1 end
  return count
end

-- Tokens of the text with their scores; `inside`: it goes on with the word before it. A tokenizer that
-- marks inner pieces says so by their length; for the others a blank before the token is what counts.
local function entities(p, text, tokens, scores)
  local list = {}
  for i, token in ipairs(tokens) do
    if token.first then
      local surface = text:sub(token.first, token.last)
      local inside
      if p.tokenizer.marks_inner_pieces then
        inside = characters(token.piece) ~= characters(surface)
      else
        inside = token.first > 1 and not text:sub(token.first - 1, token.first):find " "
      end
      local word = token.piece
      if token.id == p.tokenizer.specials.unk then word, inside = surface, false end
      list[#list + 1] = { scores = scores[i], first = token.first, last = token.last, word = word, inside = inside }
    end
  end
  return list
end

-- What the tokenizer makes of the words of entities, one after the other.
local function written(p, list)
  local parts = {}
  for i, entity in ipairs(list) do parts[i] = entity.word end
  return p.tokenizer:join(parts)
end

local pick = {
  first = function(list) return best(list[1].scores) end,
  max = function(list)
    local at, score = 1, -1
    for _, entity in ipairs(list) do
      local i, s = best(entity.scores)
      if s > score then at, score = i, s end
    end
    return at, score
  end,
  average = function(list)
    local mean = {}
    for i = 1, #list[1].scores do
      local sum = 0
      for _, entity in ipairs(list) do sum = sum + entity.scores[i] end
      mean[i] = sum / #list
    end
    return best(mean)
  end,
}

-- Pieces of one word agree on a label.
local function words(p, list, strategy)
  local out, group = {}, {}
  local function close()
    if #group == 0 then return end
    local at, score = pick[strategy](group)
    out[#out + 1] = { label = p.model:label(at - 1), score = score, word = written(p, group), first = group[1].first,
      last = group[#group].last }
    group = {}
  end
  for _, entity in ipairs(list) do
    if not entity.inside then close() end
    group[#group + 1] = entity
  end
  close()
  return out
end

-- "B-PER" → "B", "PER"; without a prefix a label continues.
local function tag_of(label)
  local prefix, tag = label:match "^([BI])%-(.*)$"
  return prefix or "I", tag or label
end

-- Neighbours of one tag become one entity; a B begins a new one.
local function groups(p, list)
  local out, group = {}, {}
  local function close()
    if #group == 0 then return end
    local sum = 0
    for _, entity in ipairs(group) do sum = sum + entity.score end
    out[#out + 1] = { label = group[1].label:match "^[^-]*%-(.*)$" or group[1].label, score = sum / #group,
      word = written(p, group), first = group[1].first, last = group[#group].last }
    group = {}
  end
  for _, entity in ipairs(list) do
    if #group > 0 then
      local prefix, tag = tag_of(entity.label)
      local _, last = tag_of(group[#group].label)
      if tag ~= last or prefix == "B" then close() end
    end
    group[#group + 1] = entity
  end
  close()
  return out
end

-- Of entities that overlap where windows do, the one of more characters stays, then the likelier. As published the
-- first is held against itself, so that one without text is there twice.
local function without_overlap(list)
  local order, out = {}, {}
  for i, entity in ipairs(list) do order[entity] = i end
  table.sort(list, function(a, b)
    if a.first ~= b.first then return a.first < b.first end
    return order[a] < order[b]
  end)
  local before = list[1]
  for _, entity in ipairs(list) do
    if entity.first <= before.last then
      local mine, theirs = characters(entity.text), characters(before.text)
      if mine > theirs or mine == theirs and entity.score > before.score then before = entity end
    else
      out[#out + 1] = before
      before = entity
    end
  end
  out[#out + 1] = before
  return out
end

-- The probabilities of a window's tokens.
local function window_scores(result)
  local out = {}
  for i, logits in ipairs(result.outputs.logits:tolist()) do out[i] = rows.softmax(logits) end
  return out
end

-- The tokens of the whole text, each with what its windows say of it, joined.
local function joined(p, job)
  local tokens, lists, at = {}, {}, {}
  for w, result in ipairs(job.results) do
    local scores = window_scores(result)
    for i, token in ipairs(job.tokens[w]) do
      if token.first then
        local key = token.first .. " " .. token.last .. " " .. token.id
        if not at[key] then
          at[key] = #tokens + 1
          tokens[at[key]], lists[at[key]] = token, {}
        end
        table.insert(lists[at[key]], scores[i])
      end
    end
  end
  for i, list in ipairs(lists) do lists[i] = rows.join(p.options.join, list) end
  return tokens, lists
end

local function labelled(p, text, tokens, scores)
  local strategy, list = p.options.aggregation_strategy or "none", entities(p, text, tokens, scores)
  if strategy == "none" or strategy == "simple" then
    for _, entity in ipairs(list) do
      local at, score = best(entity.scores)
      entity.label, entity.score = p.model:label(at - 1), score
    end
    return strategy == "none" and list or groups(p, list)
  end
  return groups(p, words(p, list, strategy))
end

function task.finish(p, input, job)
  local text, all, ignored = type(input) == "table" and input.text or input, {}, {}
  for _, label in ipairs(p.options.ignore_labels or { "O" }) do ignored[label] = true end
  local function keep(list)
    for _, entity in ipairs(list) do
      if not ignored[entity.label] then
        all[#all + 1] = { label = entity.label, score = entity.score, word = entity.word, text = text:sub(entity.first, entity.last),
          first = entity.first, last = entity.last }
      end
    end
  end
  local single = #job.results == 1
  if not single and (p.options.join or (p.options.aggregation_strategy or "none") == "none") then
    keep(labelled(p, text, joined(p, job)))
    return all
  end
  for i, result in ipairs(job.results) do keep(labelled(p, text, job.tokens[i], window_scores(result))) end
  return single and all or without_overlap(all)
end

return task
