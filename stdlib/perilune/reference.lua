-- Reference values (expected.json + expected.safetensors in a model folder) held against what the
-- engine computes. One function a kind of case; each calls report(case, verdict) and nothing else
-- decides what counts as close.

local reference = {}

--- "Within t" (docs: numbers): |a - b| <= t * max(1, max|b|). A NaN is never close.
---@param ours number[] row-major
---@param theirs number[]
---@return number difference scaled so that it can be held against t; math.huge when sizes differ
function reference.difference(ours, theirs)
  if #ours ~= #theirs then return math.huge end
  local largest, scale = 0, 1
  for i = 1, #theirs do
    local difference = math.abs(ours[i] - theirs[i])
    if difference ~= difference then return math.huge end
    if difference > largest then largest = difference end
    local magnitude = math.abs(theirs[i])
    if magnitude > scale then scale = magnitude end
  end
  return largest / scale
end

--- A tensor's elements in row-major order.
---@param t Tensor
---@return number[]
function reference.flatten(t)
  local list = {}
  local function walk(value)
    if type(value) ~= "table" then
      list[#list + 1] = value
    else
      for i = 1, #value do walk(value[i]) end
    end
  end
  walk(t:tolist())
  return list
end

--- Natural log-probabilities of the ids that follow, from rows of logits.
---@param logits number[][] one row a token
---@param ids integer[]
---@return number[]
function reference.token_logprobs(logits, ids)
  local out = {}
  for i = 1, #ids - 1 do
    local row, largest, sum = logits[i], -math.huge, 0
    for j = 1, #row do largest = math.max(largest, row[j]) end
    for j = 1, #row do sum = sum + math.exp(row[j] - largest) end
    out[i] = row[ids[i + 1] + 1] - largest - math.log(sum)
  end
  return out
end

--- Options of a stored generation that this build does not run, as a reason; nil when it can.
---@param options table
---@return string|nil
function reference.cannot_generate(options)
  if (options.num_beams or 1) > 1 then return "beam search is not supported yet" end
  if (options.no_repeat_ngram_size or 0) > 0 then return "no_repeat_ngram_size is not supported yet" end
  local known = { max_new_tokens = 1, min_new_tokens = 1, label = 1, do_sample = 1, eos_token_id = 1,
    repetition_penalty = 1, num_beams = 1, no_repeat_ngram_size = 1, num_return_sequences = 1,
    length_penalty = 1, early_stopping = 1 }
  for key in pairs(options) do
    if not known[key] then return "option " .. key .. " is not supported yet" end
  end
end

--- Greedy rows: equal, or different first where our own scores of the two candidates are within
--- 1e-3 (another order of summation may choose differently there; the rest is then not compared).
---@param ours integer[]
---@param theirs integer[]
---@param score fun(prefix: integer[], id: integer): number our score of `id` after `prefix` new tokens
---@return boolean ok
---@return string what
function reference.compare_greedy(ours, theirs, score)
  local length = math.max(#ours, #theirs)
  for i = 1, length do
    if ours[i] ~= theirs[i] then
      if not ours[i] or not theirs[i] then
        return false, ("length differs: %d tokens, expected %d"):format(#ours, #theirs)
      end
      local prefix = {}
      for j = 1, i - 1 do prefix[j] = theirs[j] end
      local gap = math.abs(score(prefix, ours[i]) - score(prefix, theirs[i]))
      if gap < 1e-3 then
        return true, ("%d of %d tokens equal, then a tie (scores %.1e apart)"):format(i - 1, #theirs, gap)
      end
      return false, ("token %d is %d, expected %d (our scores %.3g apart)"):format(i, ours[i], theirs[i], gap)
    end
  end
  return true, ("%d tokens equal"):format(#theirs)
end

return reference
