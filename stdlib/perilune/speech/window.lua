-- One window of sound, up to 30 seconds: what is asked of the decoder, and what its ids say.
local core = require "perilune.core"
local pass_runner = require "perilune.loaded.pass_runner"
local generation_rules = require "perilune.serve.generation_rules"

local window = {}

-- Scores of ids as they were found; every other one never.
local function keep_only(row, ids)
  local kept = {}
  for i, id in ipairs(ids) do kept[i] = row:at { vocab = id }:item() end
  row:set(-math.huge)
  for i, id in ipairs(ids) do row:set(kept[i] > -math.huge and kept[i] or 0, { vocab = id }) end
end

-- What the first new ids must be, one at a time: a language (of several, where it is not known), a task,
-- and that there are no times.
local function first_ids(t, o)
  local list, s = {}, t.special
  if s.multilingual then
    local languages = {}
    if o.language then
      languages[1] = s.languages[o.language]
    else
      for _, id in pairs(s.languages) do languages[#languages + 1] = id end
      table.sort(languages)
    end
    list[1], list[2] = languages, { o.task == "translate" and s.translate or s.transcribe }
  end
  if not o.times then list[#list + 1] = { s.no_times } end
  return list
end

-- Writes the first ids; where text begins without times, it begins with none of `blank`.
local function processor(first, blank)
  return function(row, state)
    local made = state.step
    if made < #first then
      keep_only(row, first[made + 1])
    elseif made == #first then
      for _, id in ipairs(blank) do row:set(-math.huge, { vocab = id }) end
    end
  end
end

-- The decoder's prompt: the end of what was said before, and the start.
local function prompt_of(t, o)
  local s, ids = t.special, {}
  local most = math.floor(t.positions / 2) - 1
  if o.previous and #o.previous > 0 and s.previous then
    ids[1] = s.previous
    for i = math.max(1, #o.previous - most + 1), #o.previous do ids[#ids + 1] = o.previous[i] end
  end
  ids[#ids + 1] = s.start
  return ids
end

local function joined(...)
  local out = {}
  for i = 1, select("#", ...) do
    for _, id in ipairs((select(i, ...)) or {}) do out[#out + 1] = id end
  end
  return out
end

-- How the answer is looked for: draws, of which the surest counts, beams (as published: scores after all rules, the first so
-- many answers that end, weighed by their length), or the likeliest ids.
local function add_search(options, o)
  if o.temperature > 0 then
    options.do_sample, options.temperature, options.n, options.logprobs = true, o.temperature, o.best_of > 1 and o.best_of or nil, 3
  elseif o.num_beams > 1 then
    options.num_beams, options.length_penalty, options.early_stopping, options.renormalize_logits = o.num_beams, 1, "yes", true
  else
    options.logprobs = 3
  end
end

--- Hands one window to an engine.
---@param t table the transcriber: { model=, special=, positions=, rules= (suppress, begin) }
---@param engine userdata core's
---@param features Tensor [frame, mel]
---@param o table { language=, task=, times=, previous=, temperature=, best_of=, num_beams=, seed= }
---@return table asked { line=, first= (how many ids come before the text) }
function window.submit(t, engine, features, o)
  local s, m = rawget(t.model, "state_"), t.special
  local first, ids = first_ids(t, o), prompt_of(t, o)
  local rules = t.rules
  local room = math.min(math.floor(t.positions / 2), t.positions - #ids)   -- as published: half of the positions at most
  local options = { max_new_tokens = math.max(1, room), suppress_tokens = joined(rules.suppress, m.never), seed = o.seed or 0 }
  local asked = { first = #first, temperature = o.temperature }
  add_search(options, o)
  if o.times then
    options.timestamps = { first = m.first_time, no_timestamps = m.no_times, ["end"] = m.stop, skip = #first, most_initial = rules.most_initial }
  end
  local request = { ids = ids, options = options, stop_ids = { m.stop }, processors = { processor(first, o.times and {} or rules.begin) },
    reachable = s.vocab_rows,   -- times are no tokens of some tokenizers, whose ids nothing here is decoded by
    max_tokens = t.positions, reuse = false,
    source = core.batch(nil, { inputs = { features = { features } } }), plan = pass_runner.plan(s, "decode"),
    encode_plan = pass_runner.plan(s, "encode"), cross_plan = pass_runner.plan(s, "cross"), cache = pass_runner.pool(s) }
  if pass_runner.written(t.model) then request.write_pass = pass_runner.writer(t.model) end
  asked.line = engine:submit(request)
  return asked
end

-- Mean log-probability of what was chosen, times and the end among it; as published, an answer that was cut off
-- counts as one id longer, too.
local function mean_logprob(t, result, first)
  local sum, count = 0, 0
  if not result.logprobs then sum = result.score * #result.ids end   -- of a search: ids that must come add nothing
  for i = first + 1, #result.ids do
    if result.logprobs then sum = sum + result.logprobs[i] end
    if result.ids[i] ~= t.special.stop then count = count + 1 end
  end
  return sum / (count + 1)
end

-- The chance that nobody speaks, where it is among the likeliest answers to the start. A search does not tell it.
local function no_speech(t, result)
  for _, one in ipairs((result.top_logprobs or {})[1] or {}) do
    if one.id == t.special.no_speech then return math.exp(one.logprob) end
  end
  return 0
end

--- What came of it.
---@param t table
---@param asked table
---@return table { ids= (times and text), text=, logprob=, compression=, no_speech=, language=, error=, code= }
function window.result(t, asked)
  local result = asked.line:result()
  if result.finish_reason == "error" then return { error = result.error, code = result.error_code } end
  for _, other in ipairs(result.sequences or {}) do   -- of several draws the surest
    other.mean = mean_logprob(t, other, asked.first)
    if not result.mean or other.mean > result.mean then result = other end
  end
  local ids, plain = {}, {}
  for i = asked.first + 1, #result.ids do
    local id = result.ids[i]
    if id ~= t.special.stop then ids[#ids + 1] = id end
    if id < t.special.stop then plain[#plain + 1] = id end
  end
  local out = { ids = ids, text = t.model.tokenizer:decode(plain), logprob = mean_logprob(t, result, asked.first),
    no_speech = no_speech(t, result), temperature = asked.temperature, prompt = result.ids }
  local bare = out.text:match "^%s*(.-)%s*$"
  out.compression = #bare > 0 and #bare / core.compressed_size(bare) or 0
  if t.special.multilingual then
    for code, id in pairs(t.special.languages) do if id == result.ids[1] then out.language = code end end
  end
  return out
end

--- What a model's files say of ids that are never or not first chosen.
---@param m Model
---@return table { suppress=, begin=, most_initial= }
function window.rules(m)
  local g = rawget(m, "state_").generation
  local begin = generation_rules.list(type(g.begin_suppress_tokens) == "table" and g.begin_suppress_tokens or {})
  if #begin == 0 then
    local blank = m.tokenizer:ids(" ", { special = false })
    begin = { m.tokenizer:id "<|endoftext|>", #blank == 1 and blank[1] or nil }
  end
  local initial = g.max_initial_timestamp_index
  return { suppress = type(g.suppress_tokens) == "table" and g.suppress_tokens or {}, begin = begin,
    most_initial = type(initial) == "number" and initial or 50 }
end

return window
