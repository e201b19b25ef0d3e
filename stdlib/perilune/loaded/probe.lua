-- What a stranger's tokenizer betrays, although every id has a row: scores against chance, words that
-- the vocabulary does not know, embeddings that do not fit their pieces, answers that do not change.
--
-- Two statistics need only the embedding and therefore work for every head. In trained weights the rows
-- of related pieces (the, The, " the"; week, weeks) are nearer to each other than those of any two, and
-- the rows of everyday words have moved further than those that training rarely met. Both are AUC: 0.5
-- by chance. Rows that all have the length of random ones were never trained, and tell nothing.
local core = require "perilune.core"

local probe = {}

local sentence = "Once upon a time there was an old man who lived in a little house near the forest."

local everyday = [[the of and to in is was it for that on with as this but be are have from at not by one all were
  they we would there what about which when out so up if no my more some could time very will like do other who good
  did than then its can first only two just over also after our me much how well been most way year week day people
  work find every never last again new back little great place bad too made]]

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

-- ---------------------------------------------------------------- what the text layer says

local function unknown_share(tokenizer)
  local unknown = tokenizer.specials.unk
  if not unknown then return 0 end
  local ids, count = tokenizer:ids(sentence, { special = false }), 0
  for _, id in ipairs(ids) do if id == unknown then count = count + 1 end end
  return #ids > 0 and count / #ids or 0
end

-- Ids of everyday words that are one piece, in the middle of a text.
local function everyday_ids(tokenizer, rows)
  local before, seen, list, words = tokenizer:ids("a", { special = false }), {}, {}, 0
  for word in everyday:gmatch "%S+" do
    local ids = tokenizer:ids("a " .. word, { special = false })
    local id = ids[#ids]
    words = words + 1
    if #ids == #before + 1 and id ~= tokenizer.specials.unk and id < rows and not seen[id] then
      seen[id], list[#list + 1] = true, id
    end
  end
  return list, words
end

local marks = { "^##(.+)$", "^\226\150\129(.+)$", "^\196\160(.+)$", "^ (.+)$", "^(.+)</w>$" }

local function bare(piece)
  for _, mark in ipairs(marks) do
    local inner = piece:match(mark)
    if inner then return inner end
  end
  return piece
end

local endings = { "s", "ed", "d", "ing", "ly", "er" }

-- Pairs of ids whose pieces write the same word, or a word and a form of it.
local function related_pairs(tokenizer, rows)
  local by_word, order = {}, {}
  for id = 0, math.min(rows, tokenizer.max_id + 1) - 1 do
    local fine, piece = pcall(tokenizer.piece, tokenizer, id)
    local word = fine and bare(piece):lower()
    if word and #word > 1 and word:match "^%l+$" then
      if not by_word[word] then by_word[word], order[#order + 1] = {}, word end
      table.insert(by_word[word], id)
    end
  end
  local first, second = {}, {}
  local function add(a, b) first[#first + 1], second[#second + 1] = a, b end
  for _, word in ipairs(order) do
    local ids = by_word[word]
    for i = 2, #ids do add(ids[1], ids[i]) end
    if #word > 2 then
      for _, ending in ipairs(endings) do
        local form = by_word[word .. ending]
        if form then add(ids[1], form[1]) end
      end
    end
  end
  return first, second
end

-- ---------------------------------------------------------------- what the embedding says

-- At most `count` entries, evenly spread, of a list.
local function thinned(list, count)
  if #list <= count then return list end
  local out = {}
  for i = 1, count do out[i] = list[math.floor((i - 1) * #list / count) + 1] end
  return out
end

-- How often a number of `a` is above one of `b`, and by how many standard errors that differs from chance.
local function above(a, b)
  table.sort(b)
  local sum = 0
  for _, x in ipairs(a) do
    local low, high = 1, #b + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if b[middle] < x then low = middle + 1 else high = middle end
    end
    sum = sum + (low - 1) / #b
  end
  local auc = sum / #a
  return auc, (auc - 0.5) * math.sqrt(12 / (1 / #a + 1 / #b))
end

local function spread_over_mean(list)
  local sum, squares = 0, 0
  for _, x in ipairs(list) do sum, squares = sum + x, squares + x * x end
  local mean = sum / #list
  return math.sqrt(math.max(0, squares / #list - mean * mean)) / math.max(mean, 1e-30)
end

local function cosines(a, b)
  local dots, lengths_a, lengths_b = (a * b):sum("hidden"):tolist(), a:norm("hidden"):tolist(), b:norm("hidden"):tolist()
  for i = 1, #dots do dots[i] = dots[i] / math.max(lengths_a[i] * lengths_b[i], 1e-30) end
  return dots
end

-- { trained=, related={ pairs, auc, z }, everyday={ words, auc, z } }, or nil where the embedding cannot be read.
local function embedding_evidence(s, tokenizer)
  local path = s.family.embedding
  local fine, stored = pcall(function() return path and s.checkpoint:tensor(path .. ".weight", { "vocab", "hidden" }) end)
  if not fine or not stored then return nil end
  local function rows_of(ids) return stored:gather("vocab", ids):to "f32" end
  local all = {}
  for id = 0, math.min(s.vocab_rows, tokenizer.max_id + 1) - 1 do all[id + 1] = id end
  local sample = rows_of(thinned(all, 4096))
  local mean = sample:mean "vocab"
  local lengths = (sample - mean):norm("hidden"):tolist()
  local out = { trained = spread_over_mean(lengths) * math.sqrt(2 * sample.shape.hidden) }
  local words = everyday_ids(tokenizer, s.vocab_rows)
  out.everyday = { count = #words, auc = 0.5, z = 0 }
  if #words > 0 then out.everyday.auc, out.everyday.z = above((rows_of(words) - mean):norm("hidden"):tolist(), lengths) end
  local first, second = related_pairs(tokenizer, s.vocab_rows)
  first, second = thinned(first, 1500), thinned(second, 1500)
  out.related = { count = #first, auc = 0.5, z = 0 }
  if #first > 1 then
    local others = {}
    for i = 1, #second do others[i] = second[(i + math.floor(#second / 2) - 1) % #second + 1] end
    local a = rows_of(first) - mean
    out.related.auc, out.related.z = above(cosines(a, rows_of(second) - mean), cosines(a, rows_of(others) - mean))
  end
  return out
end

-- "fits", "stranger", "untrained" (rows of random length) or "unclear" (too few English words to tell).
local function judge(e)
  if not e then return "unclear" end
  if e.trained < 2 then return "untrained" end
  if (e.related.auc >= 0.6 and e.related.z >= 4) or (e.everyday.auc >= 0.7 and e.everyday.z >= 4) then return "fits" end
  return (e.related.count >= 50 or e.everyday.count >= 20) and "stranger" or "unclear"
end

-- ---------------------------------------------------------------- what the answers say

local function share_above(row, truth)
  local limit, count = row[truth + 1], 0
  for i = 1, #row do if row[i] > limit then count = count + 1 end end
  return count / #row
end

-- How many pieces the model finds likelier than the true one, on average, as a share of the vocabulary:
-- 0 for a perfect guess, 0.5 by chance. (Not the score itself: a model of a narrow subject is sure of
-- itself and scores plain sentences below chance.)
local function mean_rank(m, tokenizer)
  local ids = tokenizer:ids(sentence)
  for i = #ids, (m.max_tokens or #ids) + 1, -1 do ids[i] = nil end
  local sum, count = 0, 0
  if m.head == "causal" then
    local rows = m:forward({ ids }, { rows = "all", outputs = { "logits" } }).logits:tolist()
    for j = 1, #ids - 1 do sum, count = sum + share_above(rows[j], ids[j + 1]), count + 1 end
  else   -- each piece hidden in turn
    local hidden = tokenizer.specials.mask
    if not hidden then return nil end
    for j = 1, #ids do
      if not tokenizer:is_special(ids[j]) then
        local row = {}
        for k = 1, #ids do row[k] = k == j and hidden or ids[k] end
        sum = sum + share_above(m:forward({ row }, { outputs = { "logits" } }).logits:tolist()[j], ids[j])
        count = count + 1
      end
    end
  end
  return count > 0 and sum / count or nil
end

local function best(row)
  local at = 1
  for i = 2, #row do if row[i] > row[at] then at = i end end
  return at - 1
end

-- The classes that mean good and bad, where labels say so.
local function opinion_classes(labels)
  local good, bad
  for id, name in pairs(labels or {}) do
    if tostring(name):lower():match "^pos" then good = id elseif tostring(name):lower():match "^neg" then bad = id end
  end
  if good and bad then return good, bad end
end

-- { texts=, answers= (different ones), right=, judged= }
local function classifier_answers(m, tokenizer)
  local texts = {}
  for _, list in ipairs { praise, complaint, various } do for _, text in ipairs(list) do texts[#texts + 1] = text end end
  local rows = {}
  for i, text in ipairs(texts) do
    local ids = tokenizer:ids(text)
    for k = #ids, (m.max_tokens or #ids) + 1, -1 do ids[k] = nil end
    rows[i] = #ids > 0 and ids or { 0 }
  end
  local logits = m:forward(rows).logits:tolist()
  local seen, out = {}, { texts = #texts, answers = 0 }
  for _, row in ipairs(logits) do
    local answer = best(row)
    if not seen[answer] then seen[answer], out.answers = true, out.answers + 1 end
  end
  local good, bad = opinion_classes(m.labels)
  if good then
    out.judged, out.right = #praise + #complaint, 0
    for i = 1, out.judged do
      local says_good = logits[i][good + 1] > logits[i][bad + 1]
      if says_good == (i <= #praise) then out.right = out.right + 1 end
    end
  end
  return out
end

-- ---------------------------------------------------------------- together

local function embedding_sign(found, e)
  local verdict = judge(e)
  found.embedding = verdict
  if verdict == "stranger" then
    return ("the embedding does not fit the pieces: rows of %d related pieces are as near as any two (%.2f; chance 0.50), rows of %d everyday "
      .. "words are like any others (%.2f; chance 0.50)"):format(e.related.count, e.related.auc, e.everyday.count, e.everyday.auc)
  end
end

local function answer_signs(found, m, tokenizer, add)
  if m.head == "causal" or m.head == "masked" then
    found.rank = mean_rank(m, tokenizer)
    if found.rank and found.rank > 0.3 then
      add(("on a plain sentence the model ranks the true piece behind %.0f %% of the others (chance: 50 %%)"):format(100 * found.rank))
    end
  elseif m.head == "sequence" then
    local a = classifier_answers(m, tokenizer)
    found.answers = a
    if a.answers == 1 then add(("%d very different texts all get the same answer"):format(a.texts)) end
    if a.right and a.right < 0.75 * a.judged then
      add(("of %d plain sentences that praise or complain it takes %d for what they are (chance: %d)"):format(a.judged, a.right, a.judged / 2))
    end
  end
end

--- Looks at a model and a tokenizer whose ids fit. A sign is a warning; with two, or an embedding
--- that is trained and large enough to be sure, the pair is an error.
---@param m Model
---@param s table its state
---@param tokenizer Tokenizer
---@param errors string[] extended
---@param warnings string[] extended
---@param notes string[] extended
---@return table found { unknown=, rank=, embedding=, related=, everyday=, answers= }
function probe.run(m, s, tokenizer, errors, warnings, notes)
  local found, signs = { unknown = unknown_share(tokenizer) }, {}
  local function add(text) signs[#signs + 1] = text end
  if found.unknown > 0.3 then add(("%.0f %% of a plain English sentence are unknown tokens"):format(100 * found.unknown)) end
  local evidence = embedding_evidence(s, tokenizer)
  if evidence then found.trained, found.related, found.everyday = evidence.trained, evidence.related, evidence.everyday end
  answer_signs(found, m, tokenizer, add)
  local sign = embedding_sign(found, evidence)
  -- A model that guesses well is not refuted by its embedding.
  if sign and not (found.rank and found.rank < 0.1) then add(sign) end
  if found.embedding == "untrained" then
    notes[#notes + 1] = "probe: cannot tell, the weights look untrained: all rows of the embedding are as long as random ones"
  elseif found.embedding == "unclear" then
    notes[#notes + 1] = "probe: the embedding tells nothing: too few English words in the vocabulary, or it cannot be read"
  elseif found.embedding == "fits" then
    notes[#notes + 1] = ("probe: the embedding fits the pieces (related pieces %.2f, everyday words %.2f; chance 0.50)")
      :format(evidence.related.auc, evidence.everyday.auc)
  end
  local blame = found.embedding == "untrained" and "the model is untrained, or the tokenizer belongs to another model"
    or "the tokenizer belongs to another model, or the model is untrained"
  for _, text in ipairs(signs) do warnings[#warnings + 1] = "probe: " .. text .. ": " .. blame end
  local many = evidence and evidence.related.count >= 500   -- enough to need no second sign
  local doubted = found.embedding == "stranger" or (found.embedding == "unclear" and evidence)
  if doubted and (#signs > 1 or (many and #signs > 0)) then
    errors[#errors + 1] = ("probe: the ids fit, what they mean does not (%s): this tokenizer belongs to another model; "
      .. "give the tokenizer that was trained with it"):format(#signs == 1 and "1 sign" or #signs .. " signs agree")
  end
  return found
end

--- What a model answers to a fixed input, for a lock: a few numbers of every output, and for a causal model
--- the ids that follow.
---@param m Model
---@param tokenizer Tokenizer|nil
---@return table { values={ name → numbers }, ids=, margins= }
function probe.answer(m, tokenizer)
  local ids = tokenizer and tokenizer:ids(sentence) or {}
  if #ids == 0 then for i = 1, 8 do ids[i] = i % m.vocab_size end end
  for k = #ids, math.min(m.max_tokens or #ids, 64) + 1, -1 do ids[k] = nil end
  local out = m:forward { ids }
  local answer = { values = {} }
  for _, name in ipairs { "logits", "pooled", "start_logits", "end_logits", "last_hidden_state" } do
    if out[name] then
      local list = {}
      local function walk(value)
        if type(value) ~= "table" then
          local finite = value == value and math.abs(value) < math.huge
          if #list < 16 then list[#list + 1] = finite and tonumber(("%.5g"):format(value)) or tostring(value) end
          return
        end
        for _, one in ipairs(value) do walk(one) end
      end
      walk(out[name]:tolist())
      answer.values[name] = core.array(list)
    end
  end
  if m.head == "causal" then
    local room = (m.max_tokens or 2 ^ 20) - #ids
    local result = room > 0 and m:generate({ ids = ids }, { max_new_tokens = math.min(12, room), do_sample = false, num_beams = 1, logprobs = 2 })
    if result then
      answer.ids, answer.margins = core.array {}, core.array {}
      for i, id in ipairs(result.ids) do
        local top = result.top_logprobs[i]
        answer.ids[i] = id
        answer.margins[i] = top[2] and tonumber(("%.4f"):format(top[1].logprob - top[2].logprob)) or 0
      end
    end
  end
  return answer
end

return probe
