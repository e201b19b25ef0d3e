-- How long texts are in tokens, and what padding them would waste. Texts are counted one by one; only a
-- histogram is kept.
local raise = require "perilune.raise"
local options = require "perilune.options"
local kind = require "perilune.kind"

local pl = {}

-- Lengths that occur, ascending, with how often.
local function sorted(histogram)
  local list = {}
  for length, count in pairs(histogram) do list[#list + 1] = { length = length, count = count } end
  table.sort(list, function(a, b) return a.length < b.length end)
  return list
end

local function percentile(list, total, share)
  local seen = 0
  for _, entry in ipairs(list) do
    seen = seen + entry.count
    if seen >= share * total then return entry.length end
  end
  return list[#list].length
end

-- Positions that padding every text to its bucket computes; texts longer than the last bucket are cut.
local function computed(list, widths)
  local sum, at = 0, 1
  for _, entry in ipairs(list) do
    while at < #widths and entry.length > widths[at] do at = at + 1 end
    sum = sum + entry.count * widths[at]
  end
  return sum
end

-- The `count` widths, multiples of 8 and the longest, that pad least: by dynamic programming over the
-- widths that occur.
local function best_buckets(list, count)
  local widths, longest = {}, list[#list].length
  for _, entry in ipairs(list) do
    local width = math.min(longest, math.ceil(entry.length / 8) * 8)
    if widths[#widths] ~= width then widths[#widths + 1] = width end
  end
  if #widths > 256 then   -- long tails: a coarser grid finds as good widths
    local coarse = {}
    for i = 1, 256 do coarse[i] = widths[math.ceil(i * #widths / 256)] end
    widths = coarse
  end
  local n = #widths
  local before, at = { [0] = 0 }, 1   -- texts with a length up to each width
  for i = 1, n do
    before[i] = before[i - 1]
    while list[at] and list[at].length <= widths[i] do before[i], at = before[i] + list[at].count, at + 1 end
  end
  local cost, from = { [0] = { [0] = 0 } }, {}
  for k = 1, math.min(count, n) do
    cost[k], from[k] = {}, {}
    for i = k, n do
      for j = k - 1, i - 1 do
        local rest = cost[k - 1][j]
        local sum = rest and rest + (before[i] - before[j]) * widths[i]
        if sum and (not cost[k][i] or sum < cost[k][i]) then cost[k][i], from[k][i] = sum, j end
      end
    end
  end
  local buckets, i = {}, n
  for k = math.min(count, n), 1, -1 do
    table.insert(buckets, 1, widths[i])
    i = from[k][i]
  end
  return buckets
end

local function each(texts)
  if type(texts) == "function" then return texts end
  if not kind.is_list(texts) then raise("argument", "lengths", "expected a list of texts or an iterator, got " .. options.show(texts)) end
  local at = 0
  return function()
    at = at + 1
    return texts[at]
  end
end

--- How long texts are in tokens, and buckets that would suit them.
---@param texts string[]|fun(): string a list or an iterator, such as io.lines(file)
---@param tokenizer Tokenizer
---@param opts table|nil { special=true, buckets=4, on_progress=function(done) }
---@return table { count=, total=, mean=, p50=, p90=, p99=, max=, buckets=, histogram=, waste=function(width | list of widths) → 0..1 }
function pl.lengths(texts, tokenizer, opts)
  local o = options.check(opts, { special = "boolean", buckets = "positive", on_progress = "function" }, "lengths")
  if kind.of(tokenizer) ~= "Tokenizer" then raise("argument", "lengths", "expected a tokenizer, got " .. options.show(tokenizer)) end
  local histogram, count, total = {}, 0, 0
  for text in each(texts) do
    if type(text) ~= "string" then raise("argument", "lengths", ("text %d: expected a text, got %s"):format(count + 1, options.show(text))) end
    local length = #tokenizer:ids(text, { special = o.special ~= false })
    histogram[length] = (histogram[length] or 0) + 1
    count, total = count + 1, total + length
    if o.on_progress then o.on_progress(count) end
  end
  if count == 0 then raise("argument", "lengths", "no texts") end
  local list = sorted(histogram)
  local longest = list[#list].length
  return {
    count = count, total = total, mean = total / count, max = longest, histogram = histogram,
    p50 = percentile(list, count, 0.5), p90 = percentile(list, count, 0.9), p99 = percentile(list, count, 0.99),
    buckets = best_buckets(list, o.buckets or 4),
    waste = function(widths)
      if type(widths) ~= "table" then widths = { math.max(widths or 0, longest) } end
      local padded = computed(list, widths)
      return padded > 0 and math.max(0, 1 - total / padded) or 0
    end,
  }
end

return pl
