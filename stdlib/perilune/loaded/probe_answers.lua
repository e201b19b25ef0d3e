-- What a model's answers say of a tokenizer: whether it finds a text's next piece likelier than others of its
-- frequency, whether it writes pieces that belong together, whether it tells praise from complaint.
local family = require "perilune.loaded.family"
local probe_chance = require "perilune.loaded.probe_chance"
local probe_words = require "perilune.loaded.probe_words"

local probe_answers = {}

local longest, hidden_every, others_each = 48, 5, 20

local function cut(ids, limit)
  for i = #ids, math.min(limit or longest, longest) + 1, -1 do ids[i] = nil end
  return ids
end

-- Every id but the special ones exchanged for another of its frequency, the same one for the same.
local function exchanged(tokenizer, ids, rows, number)
  local other, out = {}, {}
  for i, id in ipairs(ids) do
    if id < rows and not tokenizer:is_special(id) then
      other[id] = other[id] or probe_chance.near(id, rows, number)
      id = other[id]
    end
    out[i] = id
  end
  return out
end

-- Places whose ids tell: more than a byte or a letter, which have the same ids in many vocabularies (a character of
-- three bytes is a word), and not in the row before, since a model expects what it has read to come again, whatever it means.
local function telling(tokenizer, ids)
  local places, seen = {}, {}
  for i, id in ipairs(ids) do
    local fine, piece = pcall(tokenizer.piece, tokenizer, id)
    local bare = fine and probe_words.bare(piece) or ""
    local _, characters = bare:gsub("[^\128-\191]", "")
    if (characters > 1 or #bare > 2) and not seen[id] and not tokenizer:is_special(id) and id ~= tokenizer.specials.unk and not piece:find "^<0x%x%x>$" then
      places[#places + 1] = i
    end
    seen[id] = true
  end
  return places
end

-- At every place of [token, vocab] that `wanted` lists, { token, id }: how many of the ids near this one the
-- model finds less likely, as a share. (Not the score itself: a model of a narrow subject is sure of itself
-- and gives plain sentences low scores, and what it reads is the same for the id and for its neighbours.)
local function shares(logits, wanted, look)
  local vocab, flat, list = logits:size "vocab", {}, {}
  for _, one in ipairs(wanted) do
    local base = (one[1] - 1) * vocab + 1
    flat[#flat + 1] = base + one[2]
    for _ = 1, others_each do flat[#flat + 1] = base + probe_chance.near(one[2], look.rows, look.number) end
  end
  if #flat == 0 then return list end
  local scores = logits:merge({ "token", "vocab" }, "place"):gather("place", flat):tolist()
  for i = 1, #flat, others_each + 1 do
    local sum = 0
    for k = 1, others_each do
      local own, other = scores[i], scores[i + k]
      sum = sum + (own > other and 1 or own == other and 0.5 or 0)
    end
    list[#list + 1] = sum / others_each
  end
  return list
end

-- Shares at the places of a row, { ids=, places=, source= }, by what a head reads.
local scorers = {}

function scorers.causal(m, row, look)
  local wanted = {}
  for _, place in ipairs(row.places) do
    if place > 1 then wanted[#wanted + 1] = { place - 1, row.ids[place] } end
  end
  return shares(m:forward({ row.ids }, { rows = "all", outputs = { "logits" } }).logits, wanted, look)
end

-- The decoder's row of a text whose source is another text.
function scorers.seq2seq(m, row, look)
  local decoder, wanted = { rawget(m, "state_").c.decoder_start or 0, unpack(row.ids) }, {}
  for _, place in ipairs(row.places) do wanted[#wanted + 1] = { place, row.ids[place] } end
  return shares(m:forward({ row.source }, { rows = "all", decoder = { decoder }, outputs = { "logits" } }).logits, wanted, look)
end

-- Every fifth piece hidden at a time.
function scorers.masked(m, row, look)
  local input, wanted = {}, {}
  for from = 1, math.min(hidden_every, #row.places) do
    local ids = { unpack(row.ids) }
    for k = from, #row.places, hidden_every do
      ids[row.places[k]] = look.tokenizer.specials.mask
      wanted[#wanted + 1] = { #input * #ids + row.places[k], row.ids[row.places[k]] }
    end
    input[#input + 1] = ids
  end
  return #input > 0 and shares(m:forward(input, { outputs = { "logits" } }).logits, wanted, look) or {}
end

local first_texts = 3

-- Whether more texts of a language would change nothing.
local function settled(i, auc, z) return i >= first_texts and (z < 1.5 or (z >= 5 and auc >= 0.65)) end

-- The share of one language's texts, and by how many standard errors it is above chance.
local function language_shares(look, texts)
  local sum, count, found = 0, 0, { text = texts.name }
  for i, text in ipairs(texts) do
    local row = { ids = cut(look.tokenizer:ids(text), look.limit), source = look.source_of(i) }
    row.places = telling(look.tokenizer, row.ids)
    for _, share in ipairs(#row.ids > 0 and look.score(row) or {}) do sum, count = sum + share, count + 1 end
    look.step()
    found.count, found.auc = count, count > 0 and sum / count or 0.5
    found.z = (found.auc - 0.5) * math.sqrt(12 * count)
    if settled(i, found.auc, found.z) then break end
  end
  return found
end

--- How a text's next pieces fare against others of their frequency: of English, and where that does not fit, of
--- the language that fits best. nil where the model has no scores of pieces.
---@param m Model
---@param tokenizer Tokenizer
---@param step fun() called between passes
---@return table|nil { count=, auc=, z=, text=, all= (pieces of all languages that were looked at), english= (its z) }
function probe_answers.scores(m, tokenizer, step)
  local s = rawget(m, "state_")
  local scorer = scorers[m.head]
  if not scorer or (m.head == "masked" and not tokenizer.specials.mask) then return nil end
  local two = family.two_part(s.family)
  local limit = s.c.max_tokens and s.c.max_tokens - (two and 1 or 0)
  local look
  look = { tokenizer = tokenizer, limit = limit, rows = math.min(s.vocab_rows, tokenizer.max_id + 1), step = step,
    number = probe_chance.numbers(5), score = function(row) return scorer(m, row, look) end,
    source_of = function(i)
      local other = probe_words.texts[1][i % #probe_words.texts[1] + 1]
      return two and cut(tokenizer:ids(other), s.c.max_source) or nil
    end }
  local best, english, all = nil, nil, 0
  for _, texts in ipairs(probe_words.texts) do
    local found = language_shares(look, texts)
    english, all = english or found, all + found.count
    if found.count >= 6 and (not best or found.z > best.z) then best = found end
    if best and best.z >= 5 and best.auc >= 0.65 then break end
  end
  if best then best.all, best.english = all, english.z end
  return best
end

-- How much of ids comes back when their text is encoded again: what a model writes in its own pieces does.
-- Ids that the tokenizer has not do not come back.
local function coming_back(tokenizer, rows, highest)
  local same, all = 0, 0
  for _, ids in ipairs(rows) do
    local known = {}
    for _, id in ipairs(ids) do if id <= highest then known[#known + 1] = id else all = all + 2 end end
    local count, again = {}, tokenizer:ids(tokenizer:decode(known), { special = false })
    for _, id in ipairs(known) do
      if not tokenizer:is_special(id) then count[id], all = (count[id] or 0) + 1, all + 1 end
    end
    all = all + #again
    for _, id in ipairs(again) do
      if (count[id] or 0) > 0 then same, count[id] = same + 2, count[id] - 1 end
    end
  end
  return all > 0 and same / all or 0, all
end

--- What a model writes by itself, in these pieces: the share that comes back when the text is encoded again, and
--- the same with pieces exchanged for others of their frequency. nil where it writes nothing.
---@param m Model
---@param tokenizer Tokenizer
---@param step fun()
---@return table|nil { own=, chance= }
function probe_answers.written(m, tokenizer, step)
  if m.head ~= "causal" and m.head ~= "seq2seq" then return nil end
  local s, prompts = rawget(m, "state_"), {}
  local rows = math.min(s.vocab_rows, tokenizer.max_id + 1)
  local number = probe_chance.numbers(3)
  for i = 1, 4 do
    local first = tokenizer.specials.bos or math.floor(number() * rows)
    prompts[i] = { ids = { first }, seed = i }
  end
  local new = math.min(24, (s.c.max_tokens or 64) - 2)
  local results = m:generate(prompts, { max_new_tokens = new, min_new_tokens = 0, do_sample = true, top_k = 50, temperature = 1, num_beams = 1 })
  step()
  local own, chance = {}, {}
  for i, r in ipairs(results) do
    own[i] = r.ids or {}
    chance[i] = exchanged(tokenizer, own[i], rows, number)
  end
  local share, count = coming_back(tokenizer, own, rows - 1)
  if count < 40 then return nil end
  return { own = share, chance = (coming_back(tokenizer, chance, rows - 1)) }
end

-- ---------------------------------------------------------------- classifiers

local praise = { "This was absolutely wonderful, I loved it.", "A great place with a very good and helpful staff.",
  "The food was very good and the staff was helpful.", "I am so happy with it, an excellent product.",
  "The food was delicious and the service was fantastic.", "A beautiful film, I enjoyed every minute.",
  "It works great and I would recommend it to anyone.", "What a lovely and pleasant surprise." }
local complaint = { "I really hated this place, it was awful.", "A horrible place with a very rude and bad staff.",
  "The worst thing I bought this year, it is useless.", "The food was awful and the staff was rude.",
  "The food was disgusting and the service was dreadful.", "A boring film, a waste of time and money.",
  "The room was horrible and the price was too high.", "What an annoying and ugly mess." }
local various = { "Water boils at one hundred degrees.", "Please close the window before you leave!", "12 + 30 = 42", "Why?",
  "The council met on Tuesday to talk about the price of bread and the state of the roads.", "def f(x): return x * 2" }

-- The classes that mean good and bad, where labels say so.
local function opinion_classes(labels)
  local good, bad
  for id, name in pairs(labels or {}) do
    if tostring(name):lower():match "^pos" then good = id elseif tostring(name):lower():match "^neg" then bad = id end
  end
  if good and bad then return good, bad end
end

--- What a classifier makes of texts that differ much; where it tells good from bad, how often it is right.
---@param m Model
---@param tokenizer Tokenizer
---@return table|nil { texts=, answers= (different ones), right=, judged= }
function probe_answers.classes(m, tokenizer)
  if m.head ~= "sequence" then return nil end
  local rows, count = {}, 0
  for _, list in ipairs { praise, complaint, various } do
    for _, text in ipairs(list) do
      local ids = cut(tokenizer:ids(text), m.max_tokens)
      rows[#rows + 1] = #ids > 0 and ids or { 0 }
    end
  end
  local logits = m:forward(rows).logits
  local seen, out = {}, { texts = #rows, answers = 0 }
  for _, answer in ipairs(logits:argmax("class"):tolist()) do
    if not seen[answer] then seen[answer], out.answers = true, out.answers + 1 end
  end
  local good, bad = opinion_classes(m.labels)
  if not good then return out end
  local list = logits:tolist()
  for i = 1, #praise + #complaint do
    local says_good = list[i][good + 1] > list[i][bad + 1]
    if says_good == (i <= #praise) then count = count + 1 end
  end
  out.judged, out.right = #praise + #complaint, count
  return out
end

return probe_answers
