-- What pipelines of one pass share: texts to rows, cut only where the caller said so.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local rows = {}

--- Checks one text, or { text=, pair= }.
---@param input any
---@param task string
---@return string|table
function rows.text(input, task)
  if type(input) == "string" then return input end
  if type(input) == "table" and type(input.text) == "string" then
    for key in pairs(input) do
      if key ~= "text" and key ~= "pair" then raise("argument", task, "an input has the keys text and pair, got " .. options.show(key)) end
    end
    return input
  end
  return raise("argument", task, "expected a text or { text=, pair= }, got " .. options.show(input))
end

--- How many tokens of an input the model takes: a task may know less than its positions.
---@param p Pipeline
---@return integer|nil
function rows.limit(p) return p.limit_ or p.model.max_tokens end

--- How long a row is made where an input is cut: what the model takes, its tokenizer names or the task wants,
--- whichever is least.
---@param p Pipeline
---@return integer|nil
function rows.width(p)
  local least = math.min(rows.limit(p) or math.huge, p.tokenizer.model_max_length or math.huge, p.width_ or math.huge)
  return least < math.huge and least or nil
end

-- Tokens that cutting took from an input, by its text: a text that is read with several others counts once.
local function note_lost(p, input, batch)
  local text, lost = type(input) == "table" and input.text or input, 0
  for _, n in ipairs(batch.lost) do lost = lost + n end
  if lost > 0 then p.lost_[text] = math.max(p.lost_[text] or 0, lost) end
end

-- What the options truncate and stride ask of tok:encode, or nil: { to=, windows=, stride=, … }. A stride
-- means windows: overlap without them would be nothing.
local function cutting(p)
  local truncate, stride = p.options.truncate, p.options.stride
  if (truncate == nil or truncate == false) and not stride then return nil end
  local how = {}
  if type(truncate) == "table" then
    for key, value in pairs(truncate) do how[key] = value end
  else
    how.to = truncate or nil
  end
  if stride then how.stride, how.windows = stride, true end
  if how.to == nil or how.to == "model" then how.to = rows.width(p) end
  if how.windows and how.to == nil then
    raise("option", p.task, "windows: this model has no limit of its own", "say how long they are: truncate = { windows = true, to = n }")
  end
  return how
end

--- Whether the options ask for windows over all of an input.
---@param p Pipeline
---@return boolean
function rows.windowed(p)
  local truncate = p.options.truncate
  return p.options.stride ~= nil or type(truncate) == "table" and truncate.windows == true
end

--- The batch of one input, a row a window; raises where it is longer than the model and nobody said to cut it.
---@param p Pipeline
---@param input string|table
---@param strategy string|nil which part of a pair is cut
---@return Batch
function rows.encode(p, input, strategy)
  local truncate = cutting(p)
  if truncate and strategy then truncate.strategy = truncate.strategy or strategy end
  local batch = p.tokenizer:encode(input, { truncate = truncate and truncate.to and truncate or nil })
  note_lost(p, input, batch)
  local limit = rows.limit(p)
  for _, length in ipairs(batch.lengths) do
    if limit and length > limit then
      raise("length", p.task, (p.limit_source_ and "the input has %d tokens, of which %d count (" .. p.limit_source_ .. ")"
        or "the input has %d tokens, the model has %d positions"):format(length, limit),
        'say truncate="model", or stride=n for windows over all of it')
    end
  end
  return batch
end

--- The job of one input: a row for every window of its batch, and each window's tokens.
---@param batch Batch
---@return table job { rows=, tokens= }
function rows.windows(batch)
  local job = { rows = {}, tokens = {} }
  for i = 1, batch.size do
    job.rows[i] = { input = batch:select { i } }
    job.tokens[i] = batch:row(i).tokens()
  end
  return job
end

--- Kinds of the options that these pipelines share: how long inputs are read.
rows.spec = { truncate = "count|string|table", stride = "count" }

--- Those and others.
---@param own table<string, any>
---@return table
function rows.with(own)
  local spec = {}
  for _, part in ipairs { rows.spec, own } do
    for key, wanted in pairs(part) do spec[key] = wanted end
  end
  return spec
end

-- ---------------------------------------------------------------- what windows say, as one

local joins = {}

function joins.mean(lists)
  local out = {}
  for k = 1, #lists[1] do
    local sum = 0
    for _, list in ipairs(lists) do sum = sum + list[k] end
    out[k] = sum / #lists
  end
  return out
end

function joins.max(lists)
  local out = {}
  for k = 1, #lists[1] do
    local most = -math.huge
    for _, list in ipairs(lists) do most = math.max(most, list[k]) end
    out[k] = most
  end
  return out
end

-- The share of the lists in which each is the best.
function joins.vote(lists)
  local out = {}
  for k = 1, #lists[1] do out[k] = 0 end
  for _, list in ipairs(lists) do
    local at = rows.order(list)[1]
    out[at] = out[at] + 1 / #lists
  end
  return out
end

--- Scores of several windows as one list: "mean" of each, "max" of each, or "vote" (the share of windows in
--- which it is the best).
---@param how string|nil default "mean"
---@param lists number[][]
---@return number[]
function rows.join(how, lists)
  if #lists == 1 then return lists[1] end
  return joins[how or "mean"](lists)
end

--- A row of numbers as probabilities.
---@param scores number[]
---@return number[]
function rows.softmax(scores)
  local most, sum, out = -math.huge, 0, {}
  for _, x in ipairs(scores) do most = math.max(most, x) end
  for i, x in ipairs(scores) do
    out[i] = math.exp(x - most)
    sum = sum + out[i]
  end
  for i = 1, #out do out[i] = out[i] / sum end
  return out
end

--- Each number by itself as a probability.
---@param scores number[]
---@return number[]
function rows.sigmoid(scores)
  local out = {}
  for i, x in ipairs(scores) do out[i] = 1 / (1 + math.exp(-x)) end
  return out
end

--- Positions of a list of numbers, largest first; of equal ones the earlier.
---@param scores number[]
---@return integer[]
function rows.order(scores)
  local order = {}
  for i = 1, #scores do order[i] = i end
  table.sort(order, function(a, b)
    if scores[a] ~= scores[b] then return scores[a] > scores[b] end
    return a < b
  end)
  return order
end

return rows
