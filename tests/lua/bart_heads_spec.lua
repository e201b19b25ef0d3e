-- BART's classifiers: the decoder reads the source again, one token late, and the state at the last
-- end of text is judged. Expected values: transformers 5.23.0, float32, on the same folders.
local pl = require "perilune"
local core = require "perilune.core"
local reference = require "perilune.compare.reference"
local t = require "spec"

local function load(name) return pl.load(t.golden(name), { compute = "f32" }) end

for _, name in ipairs { "bart-sequence", "bart-question" } do
  t.test(name .. ": within 1e-4 of the published implementation", function()
    local m, folder = load(name), t.golden(name)
    local stored, cases = pl.open(folder .. "/expected.safetensors"), core.read_json(folder .. "/expected.json").forward
    t.ok(#cases >= 6)
    for i, case in ipairs(cases) do
      local out, compared = m:forward({ case.ids }), 0
      for _, key in ipairs { "logits", "start_logits", "end_logits" } do
        if case[key] then
          local difference = reference.difference(reference.flatten(out[key]), reference.flatten(stored.tensor(case[key])))
          t.ok(difference <= 1e-4, ("case %d, %s: %g"):format(i, key, difference))
          compared = compared + 1
        end
      end
      t.ok(compared > 0)
    end
  end)
end

t.test("what the decoder gets: the source one token late, up to its last end of text", function()
  local m = load "bart-sequence"
  local function same(source, decoder) t.ok(m:forward({ source }).logits:equal(m:forward({ source }, { decoder = decoder }).logits)) end
  same({ 0, 9, 8, 2 }, { 2, 0, 9, 8 })
  same({ 0, 9, 2, 2, 8, 2 }, { 2, 0, 9, 2, 2, 8 })
  same({ 0, 9, 2, 7, 8 }, { 2, 0, 9 })
  same({ 2 }, { 2 })
  t.raises_text(function() m:forward { { 0, 5, 2 }, { 0, 5, 7 } } end, "row 2", "end of text (id 2)", "special=true")
  local question = load "bart-question"
  t.equal(question:forward({ { 0, 9, 2, 7, 8 } }).start_logits.shape[1].size, 5)
end)

t.test("without labels in the file there are three", function()
  local json = core.read_json(t.golden "bart-sequence" .. "/config.json")
  json.id2label, json.label2id = nil, nil
  local family = require "perilune.loaded.family"
  t.equal(family.configure(family.choose(json), json).axes.class, 3)
end)

t.test("text-classification and zero-shot-classification as published", function()
  local m = load "bart-sequence"
  local classify = pl.pipeline("text-classification", m, { top_k = "all" })
  local scores = {}
  for _, entry in ipairs(classify "school. Besides, if it is said") do scores[entry.label] = entry.score end
  t.near({ scores.contradiction, scores.neutral, scores.entailment }, { 0.8444255590438843, 0.08455831557512283, 0.07101605087518692 }, 1e-4)
  local pair = classify { text = "all of a", pair = "sudden, he said" }
  t.equal(pair[2].label, "entailment")
  t.near({ pair[1].score, pair[2].score, pair[3].score }, { 0.6495083570480347, 0.22612997889518738, 0.12436170130968094 }, 1e-4)

  local labels = { "fish", "a party", "war" }
  local cases = {
    { {}, { "a party", "fish", "war" }, { 0.40997880697250366, 0.3459383547306061, 0.24408282339572906 } },
    { { multi_label = true }, { "a party", "fish", "war" }, { 0.029946118593215942, 0.024063611403107643, 0.015277990140020847 } },
    { { hypothesis_template = "About {}?" }, { "fish", "a party", "war" }, { 0.42520520091056824, 0.41507309675216675, 0.1597217321395874 } },
  }
  for _, case in ipairs(cases) do
    local options = { candidate_labels = labels }
    for key, value in pairs(case[1]) do options[key] = value end
    local out = pl.pipeline("zero-shot-classification", m, options) "the carp came to the festival"
    t.equal(out.labels, case[2])
    t.near(out.scores, case[3], 1e-4)
  end
end)

t.test("an engine serves them: the source is encoded, then the decoder's pass", function()
  local m = load "bart-sequence"
  local rows = { { 0, 9, 8, 2 }, { 0, 77, 2, 5, 2 }, { 0, 11, 12, 13, 14, 15, 16, 2 } }
  local seen = {}
  local function watch(queue)
    for _, entry in ipairs(queue) do
      seen[#seen + 1] = entry.kind .. " " .. entry.pending_tokens
    end
    return queue
  end
  local e, lines = pl.engine(m, { policy = watch }), {}
  for i, row in ipairs(rows) do lines[i] = e:submit(row) end
  lines[4] = e:submit(rows[1], { decoder = { 2, 0, 9 } })
  t.raises_text(function() e:submit({ 0, 5, 7 }) end, "row 1", "end of text")
  t.raises_text(function() e:submit(rows[1], { decoder = { { 2 }, { 2 } } }) end, "decoder has 2 rows")
  e:drain()
  for i, row in ipairs(rows) do t.ok(lines[i]:result().outputs.logits:equal(m:forward({ row }).logits)) end
  t.ok(lines[4]:result().outputs.logits:equal(m:forward({ rows[1] }, { decoder = { 2, 0, 9 } }).logits))
  t.equal(seen[3], "forward 8")    -- the source
  t.equal(seen[4], "forward 4")
  t.equal(seen[8], "forward 3")    -- the decoder's pass, once encoded
  e:close()
end)

t.test("an engine writes with an encoder-decoder, or runs it once when asked", function()
  local m = pl.load(t.golden "bart-plain", { compute = "f32" })
  local e, source = pl.engine(m), { 0, 88, 76, 89, 2 }
  local options = { max_new_tokens = 5, do_sample = false, num_beams = 1, eos_token_id = {} }
  local written = e:submit(source, options)
  local once = e:submit(source, { kind = "forward", decoder = { 2, 0, 82 } })
  e:drain()
  t.equal(written:result().ids, m:generate(source, options).ids)
  t.ok(once:result().outputs.logits:equal(m:forward({ source }, { decoder = { 2, 0, 82 } }).logits))
  e:close()
  local gpt2 = pl.load(t.golden "gpt2-plain")
  t.raises_text(function() pl.engine(gpt2):submit({ 5 }, { kind = "forward", decoder = { 2 } }) end, "decoder", "no encoder")
end)

t.test("embeddings are the encoder's", function()
  for _, name in ipairs { "bart-plain", "t5-gated-untied" } do
    local m = load(name)
    local rows = { { 5, 9, 8, 2 }, { 7, 2 } }
    local states = m:forward(pl.batch(rows), { decoder = { 2 } }).encoder_last
    t.near(m:embed(rows):at { batch = 2 }:tolist(), states:at { token = { 5, 6 } }:mean("token"):tolist(), 1e-6)
    t.ok(m:embed(rows, { pooling = "last" }):at { batch = 1 }:equal(states:at { token = 4 }))
  end
end)
