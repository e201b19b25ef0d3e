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

--- Several returned beams: the same ids in the same order, with the same scores. Where two beams'
--- scores agree within 1e-3 (of the score itself where it is above 1: long answers whose length counts
--- against them have large ones), another order of summation may have chosen the other one.
---@param ours table[] { ids=, score= }
---@param theirs integer[][]
---@param scores number[]|nil
---@return boolean ok
---@return string what
function reference.compare_beams(ours, theirs, scores)
  local ties = 0
  for i, ids in ipairs(theirs) do
    local mine = ours[i]
    if not mine then return false, ("%d answers, expected %d"):format(#ours, #theirs) end
    local gap = scores and math.abs(mine.score - scores[i]) / math.max(1, math.abs(scores[i])) or 0
    local equal = #mine.ids == #ids
    for j = 1, #ids do equal = equal and mine.ids[j] == ids[j] end
    if gap >= 1e-3 then
      return false, ("answer %d has the score %.5f, expected %.5f"):format(i, mine.score, scores[i])
    elseif not equal and not scores then
      return false, ("answer %d differs"):format(i)
    elseif not equal then
      ties = ties + 1
    end
  end
  return true, ("%d answers equal"):format(#theirs) .. (ties > 0 and (", %d of them by score (a tie)"):format(ties) or "")
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
