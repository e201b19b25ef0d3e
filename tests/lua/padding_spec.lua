-- Left-padded, right-padded and ragged give the same bits, and NaNs planted in padding never reach a
-- result: every family, every head, every result, every way to it.
-- The models are copies whose embedding of id 0 is NaN (planted.lua), and 0 is what padding is filled
-- with: arithmetic on a single cell of padding would show. A policy's filler rows are of id 0, too.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local forms = require "padded_forms"
local planted = require "planted"
local folder_of = require "folder_of"

pl.on_warning(function() end)   -- two ids 0 in a row look like two beginnings of text to BART
local root = "tests/golden/"
local lengths = { 1, 2, 5, 16, 33, 8, 31 }

-- A generator of our own: the same rows on every machine and run.
local state = 4711
local function random(n)
  state = (state * 16807) % 2147483647
  return state % n
end

-- Rows without id 0. They end in 2, which BART's classifier reads.
local function random_rows(m, counts)
  local rows = {}
  for i, length in ipairs(counts) do
    rows[i] = {}
    for j = 1, length - 1 do rows[i][j] = 5 + random(math.min(m.vocab_size, 380) - 5) end
    rows[i][length] = 2
  end
  return rows
end

local function random_types(m, rows)
  if (m.config.type_vocab_size or 0) < 2 then return nil end
  local types = {}
  for i, row in ipairs(rows) do
    types[i] = {}
    for j = 1, #row do types[i][j] = random(2) end
  end
  return types
end

local function nans(length)
  local row = {}
  for i = 1, length do row[i] = 0 end
  return row
end

-- Without the logits of id 0 where the head is the embedding itself, whose row of id 0 is NaN.
local function cut(m, name, x)
  if name == "logits" and m.head == "seq2seq" and planted.always_tied[m.family] then return x:at { vocab = { 1, m.vocab_size - 1 } } end
  return x
end

-- Everything a pass gives, by name; `encoder` marks those that go by the source's rows.
local function results(m, input, decoder)
  local plain = m:forward(input, { decoder = decoder, rows = "all" })
  local outputs = { "hidden_states", "last_hidden_state" }
  for name in pairs(plain) do
    if name ~= "batch" and name ~= "last_hidden_state" then outputs[#outputs + 1] = name end
  end
  if decoder then outputs[#outputs + 1] = "encoder_hidden_states" end
  local out, list = m:forward(input, { decoder = decoder, rows = "all", outputs = outputs }), {}
  for _, name in ipairs(outputs) do
    local encoder = name:find "^encoder" ~= nil
    if name:find "hidden_states" then
      for i, x in ipairs(out[name]) do list[#list + 1] = { name = name .. " " .. i, value = x, encoder = encoder } end
    else
      list[#list + 1] = { name = name, value = cut(m, name, out[name]), encoder = encoder }
    end
  end
  return list
end

-- Every row by itself: what all others are held against.
local function each_alone(m, rows, types, decoders)
  local alone = {}
  for i, row in ipairs(rows) do
    alone[i] = results(m, pl.batch({ row }, { type_ids = types and { types[i] } }), decoders and { decoders[i] })
    t.ok(#alone[i] >= 3)
    for _, result in ipairs(alone[i]) do t.ok(not result.value:has_nan(), result.name .. " has NaN alone") end
  end
  return alone
end

local function lengths_of(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = #row end
  return list
end

-- One row by itself in the shape that a row of many has.
local function own(value)
  return value.shape[1].name == "batch" and value:at { batch = 1 } or value
end

-- Holds the answers to one form against every row alone. `at[i]`: which row of the form is row i.
local function hold(m, alone, form, decoders, source_lengths, at)
  local decoder, decoder_first, own_lengths = decoders and decoders.input, decoders and decoders.first, decoders and decoders.lengths
  for k, result in ipairs(results(m, form.input, decoder)) do
    local first = form.first
    local counts = source_lengths
    if decoders and not result.encoder then first, counts = decoder_first, own_lengths end
    for i = 1, #alone do
      local place = at and at[i] or i
      local one = forms.row(result.value, place, counts, first)
      if not own(alone[i][k].value):equal(one) then
        error(("%s: %s of row %d differs from the row alone"):format(form.name, result.name, i), 2)
      end
      if not forms.clean(result.value, place, counts, first) then
        error(("%s: %s of row %d is not zero in padding"):format(form.name, result.name, i), 2)
      end
    end
  end
end

-- NaN in the cells that the next runs get: the plans' own memory, and pages of keys and values.
local function poison(m, encoder)
  for _ = 1, 2 do
    local out = m:forward({ nans(40), nans(31), nans(9), nans(33) }, { rows = "all", decoder = encoder and nans(37) or nil })
    for _, name in ipairs { "logits", "last_hidden_state", "start_logits" } do
      if out[name] then t.ok(out[name]:has_nan(), "the planted NaN is dead") end
    end
  end
  collectgarbage()
  collectgarbage()
end

local function forward_forms(m, encoder)
  local rows = random_rows(m, lengths)
  local types = random_types(m, rows)
  local decoder_rows = encoder and random_rows(m, { 3, 1, 20, 2, 9, 33, 4 }) or nil
  local alone = each_alone(m, rows, types, decoder_rows)
  local batch, counts = pl.batch(rows, { type_ids = types }), lengths_of(rows)
  poison(m, encoder)
  local given = encoder and { input = decoder_rows, lengths = lengths_of(decoder_rows) } or nil
  for n, form in ipairs(forms.all(batch)) do
    if not (form.untyped and types) then
      hold(m, alone, form, given, counts)
      if n % 4 == 1 then poison(m, encoder) end
    end
  end
  if encoder then   -- the decoder's rows in every form
    for _, form in ipairs(forms.all(pl.batch(decoder_rows))) do
      hold(m, alone, { name = "source right, decoder " .. form.name, input = batch:padded { side = "right", pad_id = 0 },
        first = { 0, 0, 0, 0, 0, 0, 0 } }, { input = form.input, first = form.first, lengths = given.lengths }, counts)
    end
  end
  -- Rows of NaN between the others.
  local mixed, mixed_types, mixed_decoders, at = {}, types and {}, decoder_rows and {}, {}
  for i, row in ipairs(rows) do
    mixed[2 * i - 1], mixed[2 * i], at[i] = nans(#row + 3), row, 2 * i
    if types then mixed_types[2 * i - 1], mixed_types[2 * i] = nans(#row + 3), types[i] end
    if decoder_rows then mixed_decoders[2 * i - 1], mixed_decoders[2 * i] = nans(7), decoder_rows[i] end
  end
  local mixed_given = decoder_rows and { input = mixed_decoders, lengths = lengths_of(mixed_decoders) }
  hold(m, alone, { name = "among rows of NaN", input = pl.batch(mixed, { type_ids = mixed_types }) }, mixed_given, lengths_of(mixed), at)
  -- The same rows without a plan, line by line.
  if not planted.always_tied[m.family] or m.head ~= "seq2seq" then
    hold(m:eager(), alone, { name = "eager, among rows of NaN", input = pl.batch(mixed, { type_ids = mixed_types }) }, mixed_given,
      lengths_of(mixed), at)
  end
end

-- What it would have cost: rows that are filled up, computed and dropped.
local function padded_policy(queue, room)
  local plan = pl.policy.fifo().plan(queue, room)
  plan.layout = "padded"
  return plan
end
local function one_at_a_time(queue, room)
  local plan = pl.policy.fifo().plan(queue, room)
  return { plan[1] }
end
local policies = { { "fifo", nil }, { "padded", padded_policy }, { "one at a time", one_at_a_time } }

local function through_engine(m, encoder)
  local rows, decoder = random_rows(m, lengths), encoder and { 7, 9, 2 } or nil
  local alone = {}
  for i, row in ipairs(rows) do alone[i] = m:forward({ row }, { decoder = decoder, rows = m.head == "causal" and "last" or nil }) end
  for _, policy in ipairs(policies) do
    poison(m, encoder)
    local e, lines = pl.engine(m, { policy = policy[2] }), {}
    for i, row in ipairs(rows) do
      e:submit(nans(#row + 5), { kind = "forward", decoder = decoder })
      lines[i] = e:submit(row, { kind = "forward", decoder = decoder })
    end
    e:drain()
    for i, line in ipairs(lines) do
      local compared = 0
      for name, value in pairs(line:result().outputs) do
        t.ok(cut(m, name, value):equal(cut(m, name, alone[i][name])), ("engine, %s: %s of row %d"):format(policy[1], name, i))
        compared = compared + 1
      end
      t.ok(compared > 0)
    end
    e:close()
  end
end

local function embeddings(m)
  local rows = random_rows(m, lengths)
  local types = random_types(m, rows)
  local batch, poolings = pl.batch(rows, { type_ids = types }), { "mean", "cls", "last", "max" }
  if m:forward({ rows[1] }).pooled then poolings[5] = "pooled" end
  for _, pooling in ipairs(poolings) do
    for _, normalize in ipairs { false, true } do
      local how, alone = { pooling = pooling, normalize = normalize }, {}
      for i, row in ipairs(rows) do
        alone[i] = m:embed(pl.batch({ row }, { type_ids = types and { types[i] } }), how):at { batch = 1 }
        t.ok(not alone[i]:has_nan())
      end
      for _, form in ipairs(forms.all(batch)) do
        if not (form.untyped and types) then
          local all = m:embed(form.input, how)
          for i = 1, #rows do t.ok(all:at { batch = i }:equal(alone[i]), ("%s, pooling %s, row %d"):format(form.name, pooling, i)) end
        end
      end
    end
  end
end

local function attention_weights(m)
  local rows = random_rows(m, lengths)
  local path, alone = "layers.0.attention.weights", {}
  for i, row in ipairs(rows) do alone[i] = m:trace({ row }, path)[path] end
  for _, form in ipairs(forms.all(pl.batch(rows))) do
    if form.first and not form.name:find "rubbish" then
      local weights = m:trace(form.input, path)[path]
      t.ok(not weights:has_nan(), form.name)
      for i, row in ipairs(rows) do
        local columns = { form.first[i] + 1, form.first[i] + #row }
        local mine = weights:at { batch = i, query = columns, key = columns }
        t.ok(mine:equal(alone[i]:rename { token = "query" }:order("head", "query", "key")), ("%s, weights of row %d"):format(form.name, i))
      end
    end
  end
end

-- A prompt in two halves, through keys and values that stay: each half padded in its own way.
local function two_halves(m)
  local counts = { 3, 2, 9, 31, 40, 17 }
  local rows, first, second, whole = random_rows(m, counts), {}, {}, {}
  for i, row in ipairs(rows) do
    local half = math.ceil(#row / 2)
    first[i], second[i] = {}, {}
    for j, id in ipairs(row) do
      local into = j <= half and first or second
      into[i][#into[i] + 1] = id
    end
    whole[i] = m:forward({ row }, { rows = "last" })
  end
  for _, sides in ipairs { { "left", "right" }, { "right", "left" }, { "left", "left" } } do
    poison(m)
    local cache = m:cache { rows = #rows }
    m:forward(pl.batch(first):padded { side = sides[1], pad_id = 0 }, { cache = cache })
    local out = m:forward(pl.batch(second):padded { side = sides[2], pad_id = 0, to = 20 }, { cache = cache, rows = "last" })
    local name, shift = out.logits and "logits" or "last_hidden_state", {}
    for i, row in ipairs(second) do shift[i] = sides[2] == "left" and 20 - #row or 0 end
    for i in ipairs(rows) do
      local mine, alone = forms.row(out[name], i, lengths_of(second), shift), whole[i][name]
      alone = name == "logits" and alone:at { batch = 1 } or alone:at { token = { #first[i] + 1, #rows[i] } }
      t.ok(mine:equal(alone), ("halves, %s then %s: row %d"):format(sides[1], sides[2], i))
    end
  end
end

local function ways_to_write(start)
  local common = { max_new_tokens = 6, eos_token_id = {}, decoder = start, logprobs = 2, suppress_tokens = { 0 } }   -- 0 is NaN
  local ways = {
    greedy = { do_sample = false, num_beams = 1, repetition_penalty = 1.3 },
    sampled = { do_sample = true, temperature = 0.9, top_k = 40, top_p = 0.95, seed = 5, n = 2 },
    beams = { do_sample = false, num_beams = 3, length_penalty = 0.7, early_stopping = true, no_repeat_ngram_size = 2,
      num_return_sequences = 2, eos_token_id = 2, logprobs = false },
  }
  for _, way in pairs(ways) do
    for key, value in pairs(common) do if way[key] == nil then way[key] = value end end
  end
  return ways
end

local function same_answer(a, b)
  local function plain(result)
    local sequences = {}
    for i, s in ipairs(result.sequences or {}) do sequences[i] = { ids = s.ids, score = s.score } end
    return { ids = result.ids, logprobs = result.logprobs, top = result.top_logprobs, sequences = sequences, reason = result.finish_reason }
  end
  local fine = pcall(t.equal, plain(a), plain(b))
  return fine
end

local function answers(m, encoder)
  local rows = random_rows(m, lengths)
  local tied = planted.always_tied[m.family]
  for name, way in pairs(ways_to_write(encoder and { 7, 9 } or nil)) do
    local alone = {}
    for i, row in ipairs(rows) do
      alone[i] = m:generate(row, way)
      t.ok(#alone[i].ids > 0 and alone[i].finish_reason ~= "error", alone[i].error)
    end
    if not tied then poison(m, encoder) end
    local view_left = pl.batch(rows):padded { side = "left", pad_id = 0 }
    local view_right = pl.batch(rows):padded { side = "right", pad_id = 0, multiple_of = 8 }
    local inputs = { list = rows, ragged = pl.batch(rows), left = pl.batch_from_padded(view_left.ids, view_left.mask),
      right = pl.batch_from_padded(view_right.ids, view_right.mask) }
    for form, input in pairs(inputs) do
      for i, result in ipairs(m:generate(input, way)) do
        t.ok(same_answer(alone[i], result), ("%s, %s: row %d"):format(name, form, i))
      end
    end
    for _, policy in ipairs(policies) do
      local e, lines, broken = pl.engine(m, { policy = policy[2], max_tokens = 48 }), {}, {}
      for i, row in ipairs(rows) do
        if not tied then broken[i] = e:submit(nans(#row + 2), way) end
        lines[i] = e:submit(row, way)
      end
      e:drain()
      for i, line in ipairs(lines) do
        t.ok(same_answer(alone[i], line:result()), ("%s, engine %s: row %d"):format(name, policy[1], i))
        if broken[i] then t.ok(tostring(broken[i]:result().error):find "NaN", "the planted NaN is dead") end
      end
      e:close()
    end
  end
end

-- A search whose best beam takes the planted id, so that NaN comes up after it has branched: it fails
-- alone, and the others' answers stay.
local function broken_search(m, encoder)
  local start, row = encoder and { 7, 9 } or nil, random_rows(m, { 9 })[1]
  local way = { max_new_tokens = 5, num_beams = 4, num_return_sequences = 1, do_sample = false, eos_token_id = {}, decoder = start }
  local broken = { sequence_bias = { { { 0 }, 1e4 } } }
  for key, value in pairs(way) do broken[key] = value end
  way.suppress_tokens = { 0 }
  local alone, e = m:generate(row, way), pl.engine(m)
  for _ = 1, 3 do
    local bad, good = e:submit(row, broken), e:submit(row, way)
    e:drain()
    t.ok(bad:result().finish_reason == "error" and tostring(bad:result().error):find "NaN", "the planted NaN is dead")
    t.ok(same_answer(alone, good:result()))
  end
  e:close()
end

local function scores(m)
  local rows, alone = random_rows(m, { 2, 5, 16, 33, 8, 31 }), {}
  for i, row in ipairs(rows) do alone[i] = m:score(row) end
  poison(m)
  for i, score in ipairs(m:score(rows)) do t.equal(score.token_logprobs, alone[i].token_logprobs) end
end

local tasks = { causal = "text-generation", seq2seq = "text2text-generation", sequence = "text-classification",
  token = "token-classification", question = "question-answering", masked = "fill-mask", base = "feature-extraction" }

local function pipelines(m)
  local texts = { "all of a", "school. Besides, if it is said that you resigned", "a", "thus meditating about Kiyo, all of a sudden, he",
    "the carp came to the festival at Kagurazaka, just in time" }
  local options = {}
  if m.head == "causal" or m.head == "seq2seq" then options = { max_new_tokens = 4, do_sample = false, num_beams = 1, eos_token_id = {}, logprobs = 1 } end
  if m.head == "token" then options.aggregation_strategy = "simple" end
  if m.head == "sequence" then options.top_k = "all" end
  if m.head == "question" then options.top_k = 3 end
  local items = {}
  for i, text in ipairs(texts) do
    items[i] = text
    if m.head == "question" then items[i] = { question = "who came?", context = text } end
    if m.head == "masked" then items[i] = text .. " " .. m.tokenizer:piece(m.tokenizer.specials.mask) end
  end
  local p, alone = pl.pipeline(tasks[m.head], m, options), {}
  local function plain(answer)
    if core.type(answer) == "Tensor" then return answer:tolist() end
    if answer.ids then return { answer.ids, answer.text, answer.logprobs } end
    return answer
  end
  for i, item in ipairs(items) do alone[i] = plain(p(item)) end
  for i, answer in ipairs(p(items)) do t.equal(plain(answer), alone[i]) end
  for _, policy in ipairs(policies) do
    local at, seen = 0, 0
    local function source()
      at = at + 1
      return items[at]
    end
    for _, answer, err in p:each(source, { policy = policy[2], window = 3 }) do
      seen = seen + 1
      t.equal(err, nil)
      t.equal(plain(answer), alone[seen], policy[1])
    end
    t.equal(seen, #items)
  end
end

-- Every model with every head of its family. Folders are made when a test first needs
-- one: kept for the tests of one model.
local made = {}
local function load(name, head, clean)
  if made.name ~= name then
    folder_of.remove_all()
    made = { name = name }
  end
  local key = clean and "clean" or "nan"
  if not made[key] then made[key] = planted.folder(root .. name, not clean) end
  return pl.load(made[key], { head = head, compute = os.getenv "PERILUNE_INVARIANCE_COMPUTE" or "f32" })
end

local function test(name, head, what, run, clean)
  t.test(("%s, %s: %s"):format(name, head, what), function()
    local m = load(name, head, clean)
    t.equal(m.head, head)
    local done, err = pcall(run, m)
    m:close()
    if not done then error(err, 0) end
  end)
end

-- A model of every family, and those whose passes differ in more than the head.
local models = { "bart-plain", "bert-sequence", "distilbert-question", "gemma2-softcap", "gpt2-plain", "gpt_neox-parallel",
  "llama-gqa", "llama-rope3-bf16", "mistral-window", "phi-partial-rotary", "phi3-fused-qkv", "qwen2-bias", "qwen3-qknorm",
  "roberta-sequence", "t5-gated-untied" }

local seen = {}
for _, name in ipairs(models) do
  local family = require "perilune.loaded.family".choose(core.read_json(root .. name .. "/config.json"))
  local heads, encoder = {}, family.encode and family.decode
  for head in pairs(family.heads) do heads[#heads + 1] = head end
  table.sort(heads)
  seen[family.name] = true
  for _, head in ipairs(heads) do
    local tied = head == "seq2seq" and planted.always_tied[family.name]
    test(name, head, "forward in every form", function(m) forward_forms(m, encoder) end)
    test(name, head, "forward through engines", function(m) through_engine(m, encoder) end)
    test(name, head, "embeddings", embeddings)
    if not encoder then test(name, head, "attention weights", attention_weights) end
    if family.decode and not encoder then test(name, head, "keys and values that stay", two_halves) end
    if head == "causal" or head == "seq2seq" then test(name, head, "answers", function(m) answers(m, encoder) end, tied) end
    if (head == "causal" or head == "seq2seq") and not tied then
      test(name, head, "a search that breaks", function(m) broken_search(m, encoder) end)
    end
    if head == "causal" then test(name, head, "scores", scores) end
    if tasks[head] and not (encoder and head == "base") then test(name, head, "pipelines", pipelines, true) end
  end
end

t.test("every family is in the table", function()
  for _, name in ipairs(require "perilune.models") do t.ok(seen[name], "no model of " .. name .. " in " .. root) end
end)

t.test("folders are removed", function() folder_of.remove_all() end)
