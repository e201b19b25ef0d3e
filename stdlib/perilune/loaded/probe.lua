-- Whether a tokenizer whose ids all have a row is a stranger's all the same. Each sign is held against what
-- chance shows with ids of the same frequency; docs/preflight.md has the reasons and the numbers.
local core = require "perilune.core"
local progress = require "perilune.base.progress"
local probe_words = require "perilune.loaded.probe_words"
local probe_embedding = require "perilune.loaded.probe_embedding"
local probe_answers = require "perilune.loaded.probe_answers"

local probe = {}

local function of(share) return ("%.2f"):format(share) end

local function embedding_words(e)
  return ("rows of %d pairs of related pieces are nearer than chance's in %s of the cases, of %d words that stand in the same places in %s, "
    .. "those of %d everyday words longer in %s (chance: 0.50)"):format(e.related.count, of(e.related.auc), e.alike.count, of(e.alike.auc),
    e.everyday.count, of(e.everyday.auc))
end

local function score_words(a)
  return ("of %d pieces of %s text the model finds each likelier than %s of those of its frequency (chance: 0.50%s)"):format(a.count, a.text,
    of(a.auc), a.all > a.count and ("; the best of several texts, %d pieces"):format(a.all) or "")
end

-- "fits", "nothing" (no better than chance) or "unclear". Must be further from chance for the best of several
-- languages, and where many rows say "stranger".
local function judge_scores(a, embedding)
  if not a then return "unclear" end
  local least = a.text ~= "English" and 0.75 or embedding == "stranger" and 0.7 or 0.65
  if a.auc >= least and a.z >= 5 then return "fits" end
  return a.all >= 30 and a.z < 4 and "nothing" or "unclear"
end

-- What a model writes in its own pieces comes back whole. Some strangers' do too: it casts a doubt on other signs,
-- for models of subjects and languages that the probe has no text of, and proves nothing.
local function judge_written(w)
  if not w or w.chance > 0.85 then return "unclear" end
  if w.own >= 0.95 and w.own - w.chance >= 0.15 then return "whole" end
  return w.own - w.chance < 0.1 and "nothing" or "unclear"
end

local function judge_classes(a)
  if not a then return "unclear" end
  if a.right and a.right >= 0.85 * a.judged then return "fits" end
  return (a.answers == 1 or (a.right and a.right < 0.7 * a.judged)) and "nothing" or "unclear"
end

local function class_words(a)
  if a.right then
    return ("of %d plain sentences that praise or complain it takes %d for what they are (chance: %d)"):format(a.judged, a.right, a.judged / 2)
  end
  return ("%d very different texts get %d different answers"):format(a.texts, a.answers)
end

-- Everything that was looked at: signs against the pair, what fits, and what is certain by itself.
local function look(found, m, s, tokenizer, step)
  local seen = { signs = {}, fits = {} }
  local function take(verdict, words)
    if verdict == "fits" then seen.fits[#seen.fits + 1] = words elseif verdict ~= "unclear" then seen.signs[#seen.signs + 1] = words end
  end
  found.unknown = probe_words.unknown_share(tokenizer)
  if found.unknown > 0.3 then take("nothing", ("%.0f %% of a plain English sentence are unknown tokens"):format(100 * found.unknown)) end
  found.without = 1 - (tokenizer.max_id + 1) / s.vocab_rows
  if found.without > 0.3 then take("nothing", false) end   -- said by the pairing check
  local e = probe_embedding.evidence(s, tokenizer)
  step()
  found.embedding = probe_embedding.judge(e)
  if e then
    found.trained, found.related, found.alike, found.everyday, found.part = e.trained, e.related, e.alike, e.everyday, e.part
    take(found.embedding, embedding_words(e))
  end
  found.scores = probe_answers.scores(m, tokenizer, step)
  if found.scores then take(judge_scores(found.scores, found.embedding), score_words(found.scores)) end
  found.answers = probe_answers.classes(m, tokenizer)
  if found.answers then take(judge_classes(found.answers), class_words(found.answers)) end
  if #seen.fits == 0 and found.embedding ~= "stranger" and e and e.trained.elsewhere then
    found.written = probe_answers.written(m, tokenizer, step)
    seen.whole = judge_written(found.written)
    if seen.whole == "nothing" then
      take("nothing", ("of what the model writes by itself %.0f %% come back when it is encoded again (chance: %.0f %%)")
        :format(100 * found.written.own, 100 * found.written.chance))
    end
  end
  return seen
end

-- Most rows without a token, or a vocabulary with English words and English scored like chance: enough by itself.
local function is_clear(found)
  local a = found.scores
  if found.without > 0.5 then return true end
  return a ~= nil and a.all >= 60 and a.english < 2 and a.z < 3 and found.alike.count >= 30 and found.everyday.count >= 20
end

-- "own", "stranger", "doubtful" (one sign), "untrained" or "unclear".
local function verdict_of(found, seen)
  if found.part then return "stranger" end
  if #seen.fits > 0 then return "own" end
  if not found.trained then return #seen.signs > 1 and "doubtful" or "unclear" end
  if not found.trained.elsewhere then return "untrained" end
  if found.embedding == "stranger" or (seen.whole ~= "whole" and (#seen.signs > 1 or is_clear(found))) then
    return "stranger"
  end
  return #seen.signs > 0 and "doubtful" or "unclear"
end

local remedy = "this tokenizer belongs to another model; give the one that was trained with it"

local sayings = {
  own = function(_, seen, out) out.notes[#out.notes + 1] = "probe: the tokenizer fits: " .. table.concat(seen.fits, "; ") end,
  untrained = function(_, _, out)
    out.notes[#out.notes + 1] = "probe: cannot tell, the model looks untrained: the rows of its embedding and of its matrices are like random ones"
  end,
  unclear = function(_, _, out)
    out.notes[#out.notes + 1] = "probe: cannot tell: too few words that it knows are single pieces of this vocabulary, or the embedding cannot be read"
  end,
  doubtful = function(_, seen, out)
    for _, text in ipairs(seen.signs) do
      out.warnings[#out.warnings + 1] = ("probe: %s: the tokenizer belongs to another model, or the model was hardly trained"):format(
        text or "many rows of the embedding have no token")
    end
  end,
  stranger = function(found, seen, out)
    for _, text in ipairs(seen.signs) do
      if text then out.warnings[#out.warnings + 1] = "probe: " .. text end
    end
    if found.part then
      out.errors[#out.errors + 1] = ("probe: from about id %d on the ids mean something else (related pieces %s; chance 0.50), those before fit: %s")
        :format(found.part.from, of(found.part.fit.auc), remedy)
      return
    end
    out.errors[#out.errors + 1] = ("probe: the ids fit, what they mean does not (%s): %s"):format(
      #seen.signs == 1 and "1 sign" or #seen.signs .. " signs agree", remedy)
  end,
}

--- Looks at a model and a tokenizer whose ids fit.
---@param m Model
---@param s table its state
---@param tokenizer Tokenizer
---@param out table { errors=, warnings=, notes= } lists of texts, extended
---@param on_progress fun(done: integer)|nil called between passes; without one a terminal is told
---@return table found { verdict=, embedding=, trained=, related=, alike=, everyday=, part=, scores=, written=, answers=, unknown=, without= (share of
--- rows that have no token) }
function probe.run(m, s, tokenizer, out, on_progress)
  local found, done = {}, 0
  local seen = progress.during("probe", on_progress, function(tick)
    return look(found, m, s, tokenizer, function()
      done = done + 1
      tick(done)
    end)
  end)
  found.verdict = verdict_of(found, seen)
  sayings[found.verdict](found, seen, out)
  return found
end

--- What a model answers to a fixed input, for a lock: a few numbers of every output, and for a causal model
--- the ids that follow.
---@param m Model
---@param tokenizer Tokenizer|nil
---@return table { values={ name → numbers }, ids=, margins= }
function probe.answer(m, tokenizer)
  local ids = tokenizer and tokenizer:ids(probe_words.sentence) or {}
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
