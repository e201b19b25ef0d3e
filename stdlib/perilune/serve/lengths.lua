-- How long texts are in tokens, and what padding them would waste. Texts are counted one by one; only a
-- histogram is kept.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local progress = require "perilune.base.progress"

local lengths = {}

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

-- The share of padding where every text is padded to the first of `widths` that holds it; texts longer
-- than the last are cut to it.
local function padding_share(list, widths)
  local padded, kept, at = 0, 0, 1
  for _, entry in ipairs(list) do
    while at < #widths and entry.length > widths[at] do at = at + 1 end
    padded = padded + entry.count * widths[at]
    kept = kept + entry.count * math.min(entry.length, widths[at])
  end
  return padded > 0 and 1 - kept / padded or 0
end

-- A width, a list of them, or nil for the longest → an ascending list.
local function widths_of(given, longest)
  if given == nil then return { longest } end
  if type(given) == "number" then given = { given } end
  if not kind.is_list(given) or #given == 0 then
    raise("argument", "waste", "expected a width or a list of them, got " .. options.show(given))
  end
  local widths = {}
  for i, width in ipairs(given) do
    if type(width) ~= "number" or width % 1 ~= 0 or width < 1 then
      raise("argument", "waste", ("width %d: expected a whole number above 0, got %s"):format(i, options.show(width)))
    end
    widths[i] = width
  end
  table.sort(widths)
  return widths
end

-- The `count` widths, multiples of 8 and the longest, that pad least: by dynamic programming over the
-- widths that occur.
local function best_buckets(list, count)
  local widths, longest = {}, list[#list].length
  for _, entry in ipairs(list) do
    local width = math.max(1, math.min(longest, math.ceil(entry.length / 8) * 8))
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

-- The 99th percentile, rounded up to a multiple of 8; no more than the longest or the limit.
local function suggested_length(list, count, limit)
  local length = math.ceil(percentile(list, count, 0.99) / 8) * 8
  return math.max(1, math.min(length, list[#list].length, limit))
end

-- The same texts cut to a limit: no bucket need be wider.
local function cut_to(histogram, limit)
  local cut = {}
  for length, count in pairs(histogram) do
    local kept = math.min(length, limit)
    cut[kept] = (cut[kept] or 0) + count
  end
  return sorted(cut)
end

local function each(texts)
  if type(texts) == "function" then return texts end
  if not kind.is_list(texts) then raise("argument", "lengths", "expected a list of texts or an iterator, got " .. options.show(texts)) end
  local at = 0
  kind.whole(texts, "lengths", "texts")
  return function()
    at = at + 1
    return texts[at]
  end
end

--- How long texts are in tokens, a maximum length (suggested) and buckets that would suit them: the
--- widths, multiples of 8 or the longest, that pad least. waste(w) is the share of padding where texts
--- are padded to w, waste(list) where each is padded to the first width that holds it, waste() where all
--- are padded to the longest; texts longer than the last width are cut to it.
---
---     local r = pl.lengths({ "a short text", "a text that is longer than that" }, pl.tokenizer "scripts/models/reviews")
---     print(r.count, r.max >= r.p50, r.waste() > 0)                         --> 2	true	true
---@param texts string[]|fun(): string a list or an iterator, such as io.lines(file)
---@param tokenizer Tokenizer
---@param opts table|nil { special=true, buckets=4, max_tokens= (positions of the model: nothing wider is suggested), on_progress=function(done) }
---@return table { count=, total=, mean=, p50=, p90=, p99=, max=, suggested=, buckets=, histogram=, waste=function(width | list of widths) → 0..1 }
function lengths.lengths(texts, tokenizer, opts)
  local o = options.check(opts, { special = "boolean", buckets = "positive", max_tokens = "positive", on_progress = "function" }, "lengths")
  if kind.of(tokenizer) ~= "Tokenizer" then
    raise("argument", "lengths", "expected a tokenizer, got " .. (kind.of(tokenizer) or options.show(tokenizer)),
      kind.of(tokenizer) == "Model" and "a model's is m.tokenizer" or type(tokenizer) == "string" and "pl.tokenizer(path) gives one" or nil)
  end
  local histogram, count, total = {}, 0, 0
  progress.during("lengths", o.on_progress, function(tick)
    for text in each(texts) do
      if type(text) ~= "string" then raise("argument", "lengths", ("text %d: expected a text, got %s"):format(count + 1, options.show(text))) end
      local length = #tokenizer:ids(text, { special = o.special ~= false })
      histogram[length] = (histogram[length] or 0) + 1
      count, total = count + 1, total + length
      tick(count)
    end
  end)
  if count == 0 then raise("argument", "lengths", "no texts") end
  local list = sorted(histogram)
  local longest = list[#list].length
  local limit = math.min(o.max_tokens or math.huge, tokenizer.model_max_length or math.huge)
  return core.answer {
    count = count, total = total, mean = total / count, max = longest, histogram = histogram,
    p50 = percentile(list, count, 0.5), p90 = percentile(list, count, 0.9), p99 = percentile(list, count, 0.99),
    buckets = best_buckets(cut_to(histogram, limit), o.buckets or 4),
    suggested = suggested_length(list, count, limit),
    waste = function(widths) return padding_share(list, widths_of(widths, longest)) end,
  }
end

return lengths
