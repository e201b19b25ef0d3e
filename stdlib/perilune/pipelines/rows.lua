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

-- Tokens that cutting took from an input, by its text: a text that is read with several others counts once.
local function note_lost(p, input, batch)
  local text, lost = type(input) == "table" and input.text or input, 0
  for _, n in ipairs(batch.lost) do lost = lost + n end
  if lost > 0 then p.lost_[text] = math.max(p.lost_[text] or 0, lost) end
end

-- { to= } of the option truncate, with the model's own length for "model".
local function cut(p)
  local truncate = p.options.truncate
  if truncate == nil or truncate == false then return nil end
  local how = {}
  if type(truncate) == "table" then
    for key, value in pairs(truncate) do how[key] = value end
  else
    how.to = truncate
  end
  if how.to == "model" then how.to = rows.limit(p) end
  return how
end

--- The batch of one input; raises where it is longer than the model and nobody said to cut it.
---@param p Pipeline
---@param input string|table
---@param how table|nil more of the truncation: strategy, stride, windows
---@return Batch
function rows.encode(p, input, how)
  local truncate = cut(p)
  if how and (truncate or how.stride) then
    truncate = truncate or { to = rows.limit(p) }
    for key, value in pairs(how) do truncate[key] = value end
  end
  local batch = p.tokenizer:encode(input, { truncate = truncate and truncate.to and truncate or nil })
  note_lost(p, input, batch)
  local limit = rows.limit(p)
  for i, length in ipairs(batch.lengths) do
    if limit and length > limit then
      raise("length", p.task, (p.limit_source_ and "the input has %d tokens, of which %d count (" .. p.limit_source_ .. ")"
        or "the input has %d tokens, the model has %d positions"):format(length, limit),
        'say truncate="model"' .. (p.task_.stride and ", or stride=n for windows over all of it" or ""))
    end
    if i > 1 and not (how and how.windows) then break end
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

--- Kinds of the options that these pipelines share.
rows.spec = { truncate = "count|string|table" }

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
