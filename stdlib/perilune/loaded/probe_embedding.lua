-- What the rows of an embedding say of a vocabulary. It needs nothing else of a model, and therefore works for
-- every head. In trained weights the rows of related pieces (the, The, " the"; week, weeks) and those of words that
-- stand in the same places (he, she; in, on) are nearer to each other than to pieces of their frequency, and the
-- rows of everyday words are longer.
local probe_chance = require "perilune.loaded.probe_chance"
local probe_words = require "perilune.loaded.probe_words"

local probe_embedding = {}

local most_pairs, sample_rows = 2000, 2048

-- At most `count` entries, evenly spread, of a list.
local function thinned(list, count)
  if #list <= count then return list end
  local out = {}
  for i = 1, count do out[i] = list[math.floor((i - 1) * #list / count) + 1] end
  return out
end

-- Cosines of rows that stand opposite each other; 0 where a row is all zero.
local function cosines(a, b)
  local dots, lengths_a, lengths_b = (a * b):sum("hidden"):tolist(), a:norm("hidden"):tolist(), b:norm("hidden"):tolist()
  for i = 1, #dots do dots[i] = dots[i] / math.max(lengths_a[i] * lengths_b[i], 1e-30) end
  return dots
end

local function variance(list)
  local sum, squares = 0, 0
  for _, x in ipairs(list) do sum, squares = sum + x, squares + x * x end
  local mean = sum / #list
  return math.max(0, squares / #list - mean * mean)
end

-- How much rows differ from rows of independent numbers: in their lengths (without the outermost, such as rows of
-- zeros) and in their directions. Both are 1 for those, whatever their distribution.
local function trained(sample)
  local hidden, count = sample:size "hidden", sample:size "vocab"
  local squares = (sample * sample):sum("hidden"):tolist()
  local second, fourth = 0, (sample * sample * sample * sample):mean()
  for _, x in ipairs(squares) do second = second + x / count / hidden end
  table.sort(squares)
  local low, high = squares[math.floor(0.02 * count) + 1], squares[math.ceil(0.98 * count)]
  for i, x in ipairs(squares) do squares[i] = math.min(math.max(x, low), high) end
  local lengths = variance(squares) / math.max(hidden * (fourth - second * second), 1e-30)
  local order, half = {}, math.floor(count / 2)
  for i = 1, half do order[i] = half + i - 1 end
  local first = sample:at { vocab = { 1, half } }
  local directions = 0
  for shift = 1, 3 do   -- rows against others far from them
    local others = {}
    for i = 1, half do others[i] = order[(i * 7 + shift * 13) % half + 1] end
    directions = directions + variance(cosines(first, sample:gather("vocab", others))) * hidden / 3
  end
  return { lengths = lengths, directions = directions, is = lengths >= 2 or directions >= 1.5 }
end

-- Whether another matrix of the model was trained: an embedding that began with large numbers shows few steps late.
-- Tables of positions are left out: some are computed.
local function trained_elsewhere(s)
  local names = {}
  for _, name in ipairs(s.checkpoint:names()) do
    local sizes = s.checkpoint:sizes(name)
    if sizes and #sizes == 2 and math.min(sizes[1], sizes[2]) >= 32 and not name:find "embed" and not name:find "position" and not name:find "wpe" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(thinned(names, 16)) do
    local x = s.checkpoint:tensor(name, { "vocab", "hidden" })
    local ids = {}
    for i = 1, math.min(512, x:size "vocab") do ids[i] = i - 1 end
    x = x:gather("vocab", ids):to "f32"
    if trained(x - x:mean "vocab").directions >= 1.5 then return true end
  end
  return false
end

-- Pairs against the same rows paired with those of neighbouring ids.
local function related(rows_of, pairs_)
  pairs_ = thinned(pairs_, most_pairs)
  if #pairs_ < 8 then return { count = #pairs_, auc = 0.5, z = 0 } end
  table.sort(pairs_, function(x, y)
    if x[2] ~= y[2] then return x[2] < y[2] end
    return x[1] < y[1]
  end)
  local first, second = {}, {}
  for i, pair in ipairs(pairs_) do first[i], second[i] = pair[1], pair[2] end
  local a, b = rows_of(first), rows_of(second)
  local own, others = cosines(a, b), {}
  for _, shift in ipairs { 1, 2, 3, -1, -2 } do
    local moved = {}
    for i = 1, #second do moved[i] = second[(i - 1 + shift) % #second + 1] end
    for _, x in ipairs(cosines(a, rows_of(moved))) do others[#others + 1] = x end
  end
  return probe_chance.above(own, others, #own)
end

local function everyday(rows_of, words, rows)
  if #words == 0 then return { count = 0, auc = 0.5, z = 0 } end
  local number, others = probe_chance.numbers(11), {}
  for _ = 1, 20 do
    for _, id in ipairs(words) do others[#others + 1] = probe_chance.near(id, rows, number) end
  end
  return probe_chance.above(rows_of(words):norm("hidden"):tolist(), rows_of(others):norm("hidden"):tolist())
end

-- Pairs of words that stand in the same places, against the first with ids near the second.
local function alike(rows_of, pairs_, words, rows)
  if #pairs_ < 8 then return { count = words, auc = 0.5, z = 0 } end
  local first, second, others, number = {}, {}, {}, probe_chance.numbers(23)
  for i, pair in ipairs(pairs_) do first[i], second[i] = pair[1], pair[2] end
  local a = rows_of(first)
  for _ = 1, 5 do
    local near = {}
    for i, id in ipairs(second) do near[i] = probe_chance.near(id, rows, number) end
    for _, x in ipairs(cosines(a, rows_of(near))) do others[#others + 1] = x end
  end
  local found = probe_chance.above(cosines(a, rows_of(second)), others)
  return { count = words, auc = found.auc, z = (found.auc - 0.5) * math.sqrt(12 * words) }   -- a word is in many pairs
end

-- Whether the ids of a late part of the vocabulary are another's, where those before are its own: the pairs by
-- their higher id, in four parts. A part whose rows were never trained tells nothing.
local function foreign_part(rows_of, pairs_)
  if #pairs_ < 1600 then return nil end
  table.sort(pairs_, function(x, y) return math.max(x[1], x[2]) < math.max(y[1], y[2]) end)
  local best, parts = 0, {}
  for k = 0, 3 do
    local part, ids = {}, {}
    for i = math.floor(k * #pairs_ / 4) + 1, math.floor((k + 1) * #pairs_ / 4) do part[#part + 1] = pairs_[i] end
    local from = math.max(part[1][1], part[1][2])
    for _, pair in ipairs(thinned(part, 500)) do ids[#ids + 1] = math.max(pair[1], pair[2]) end
    local rows = rows_of(ids)
    parts[#parts + 1] = { from = from, fit = related(rows_of, part), trained = trained(rows - rows:mean "vocab") }
    best = math.max(best, parts[#parts].fit.auc)
  end
  for _, part in ipairs(parts) do
    if best >= 0.8 and part.fit.auc < 0.58 and part.trained.directions >= 1.5 then return part end
  end
end

--- What the embedding says, or nil where it cannot be read.
---@param s table a model's state
---@param tokenizer Tokenizer
---@return table|nil { trained={ is=, elsewhere=, lengths=, directions= }, related=, alike=, everyday={ count=, auc=, z= }, part= }
function probe_embedding.evidence(s, tokenizer)
  local path = s.family.embedding
  local fine, stored = pcall(function() return path and s.checkpoint:tensor(path .. ".weight", { "vocab", "hidden" }) end)
  if not fine or not stored then return nil end
  local all, rows = {}, math.min(s.vocab_rows, tokenizer.max_id + 1)
  for id = 0, s.vocab_rows - 1 do all[id + 1] = id end
  local sample = stored:gather("vocab", thinned(all, sample_rows)):to "f32"
  if #all < 16 or not sample:eq(sample):all() then return nil end
  local mean = sample:mean "vocab"
  local function rows_of(ids) return stored:gather("vocab", ids):to "f32" - mean end
  local pairs_ = probe_words.related(tokenizer, s.vocab_rows)
  local alike_pairs, alike_words = probe_words.alike(tokenizer, s.vocab_rows)
  local shown = trained(sample - mean)
  shown.elsewhere = shown.is or trained_elsewhere(s)
  return { trained = shown, related = related(rows_of, pairs_), alike = alike(rows_of, alike_pairs, alike_words, rows),
    everyday = everyday(rows_of, probe_words.everyday(tokenizer, s.vocab_rows), rows), part = foreign_part(rows_of, pairs_) }
end

--- "fits", "stranger" (many words, all of them like chance), "doubtful" (the same of few) or "unclear".
---@param e table|nil
---@return string
function probe_embedding.judge(e)
  if not e then return "unclear" end
  local r, a, w = e.related, e.alike, e.everyday
  if (r.auc >= 0.6 and r.z >= 5) or (a.auc >= 0.6 and a.z >= 5) or (w.auc >= 0.7 and w.z >= 5.5) then return "fits" end
  if not e.trained.is or r.z >= 3.5 or a.z >= 3.5 or w.z >= 3.5 then return "unclear" end
  if a.count >= 80 and (w.count >= 40 or r.count >= 300) then return "stranger" end
  return (r.count >= 50 or w.count >= 40) and "doubtful" or "unclear"
end

return probe_embedding
