-- What a model says against what another says for the same rows.
local core = require "perilune.core"
local sample = require "perilune.quantization.sample"

local loss = {}

local step_tokens = 256   -- whose logits are held at once

-- Heads whose logits are a choice of a token, and whether a token's logits are about the next one.
local says_next = { causal = true, seq2seq = true, masked = false }

--- Whether a model's answers are choices of tokens.
---@param m Model
---@return boolean
function loss.generates(m) return says_next[rawget(m, "head")] ~= nil end

-- The token that every row of logits of these rows is about; -1: none.
local function targets_of(rows, next_one)
  local list = {}
  for _, row in ipairs(rows) do
    for i = 1, #row do list[#list + 1] = next_one and row[i + 1] or -1 end
  end
  return list
end

local function logits_of(m, rows)
  local o = { rows = "all" }
  if rawget(m, "head") == "seq2seq" then o.decoder = rows end
  return m:forward(rows, o).logits
end

local function percentile(list, share)
  table.sort(list)
  return list[math.max(1, math.ceil(share * #list))]
end

local function mean(list)
  local sum = 0
  for _, v in ipairs(list) do sum = sum + v end
  return #list > 0 and sum / #list or 0
end

-- The numbers of all positions as the model's.
local function summary(found)
  local kl, before, after, same, largest = {}, {}, {}, 0, 0
  for _, one in ipairs(found) do
    kl[#kl + 1] = one.kl
    same = same + (one.same_top and 1 or 0)
    if one.largest > largest or one.largest ~= one.largest then largest = one.largest end
    if one.told then before[#before + 1], after[#after + 1] = one.reference_logprob, one.logprob end
  end
  local out = { kl_mean = mean(kl), kl_p99 = percentile(kl, 0.99), same_top = same / #found, logit_change = largest }
  if #before > 0 then
    out.perplexity_before, out.perplexity = math.exp(-mean(before)), math.exp(-mean(after))
    out.perplexity_change = out.perplexity - out.perplexity_before
  end
  return out
end

--- A reference's answers to rows, for measuring several models against them: as many numbers as tokens times the vocabulary.
---@param reference Model
---@param rows integer[][]
---@return table told what loss.generator takes for a reference of the same rows
function loss.told(reference, rows)
  local logits = {}
  for i, group in ipairs(sample.groups(rows, step_tokens)) do logits[i] = logits_of(reference, group) end
  return { told = logits }
end

--- Of a generator or a masked model: divergence in nats of every position, and how surprised it is.
---@param m Model
---@param reference Model|table or what loss.told gave for it and these rows
---@param rows integer[][]
---@param tick fun(done: integer, total: integer)
---@return table { kl_mean=, kl_p99=, same_top= (share), logit_change= (the largest), perplexity_before=, perplexity=, perplexity_change= }
function loss.generator(m, reference, rows, tick)
  local found, groups, next_one = {}, sample.groups(rows, step_tokens), says_next[rawget(m, "head")]
  for i, group in ipairs(groups) do
    local told = rawget(reference, "told")
    local a, b, targets = told and told[i] or logits_of(reference, group), logits_of(m, group), targets_of(group, next_one)
    for at, one in ipairs(core.divergence(a, b, targets)) do
      one.told = targets[at] >= 0
      found[#found + 1] = one
    end
    if not told then a:free() end
    b:free()
    tick(i, #groups)
  end
  return summary(found)
end

local outputs = { "pooled", "logits", "start_logits", "last_hidden_state" }

-- What an encoder answers a group of rows: the first of its outputs, a list of numbers for every row or token.
local function answers_of(m, rows)
  local out = m:forward(rows)
  for _, name in ipairs(outputs) do
    local t = out[name]
    if t then
      local list = t:to("f32"):tolist()
      if type(list[1]) ~= "table" then list = { list } end
      if type(list[1][1]) == "table" then   -- [token, a, b]
        for i, one in ipairs(list) do
          local flat = {}
          for _, part in ipairs(one) do for _, v in ipairs(part) do flat[#flat + 1] = v end end
          list[i] = flat
        end
      end
      return list, name
    end
  end
end

-- Cosine and the largest difference of two lists of numbers.
local function compare(a, b)
  local ab, aa, bb, most = 0, 0, 0, 0
  for i, x in ipairs(a) do
    local y = b[i]
    ab, aa, bb = ab + x * y, aa + x * x, bb + y * y
    local difference = math.abs(x - y)
    if difference > most or difference ~= difference then most = difference end
  end
  if most == 0 then return 1, 0 end
  return aa * bb > 0 and math.max(-1, math.min(1, ab / math.sqrt(aa * bb))) or 0, most
end

--- Of an encoder: how far its answers move.
---@param m Model
---@param reference Model
---@param rows integer[][]
---@param tick fun(done: integer, total: integer)
---@return table { output= (its name), cosine_mean=, cosine_min=, output_change= (the largest difference of a number) }
function loss.encoder(m, reference, rows, tick)
  local cosines, most, name = {}, 0, nil
  local groups = sample.groups(rows, step_tokens)
  for i, group in ipairs(groups) do
    local a, which = answers_of(reference, group)
    local b = answers_of(m, group)
    name = which
    for at, one in ipairs(a) do
      local cosine, change = compare(one, b[at])
      cosines[#cosines + 1] = cosine
      if change > most or change ~= change then most = change end
    end
    tick(i, #groups)
  end
  return { output = name, cosine_mean = mean(cosines), cosine_min = percentile(cosines, 0), output_change = most }
end

--- Either, by the model's head.
---@param m Model
---@param reference Model
---@param rows integer[][]
---@param tick fun(done: integer, total: integer)
---@return table
function loss.measure(m, reference, rows, tick)
  return (loss.generates(m) and loss.generator or loss.encoder)(m, reference, rows, tick)
end

return loss
