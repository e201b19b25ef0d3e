-- The pairing check: what is refused at load, what is warned of, what is legal, and what the probe finds.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local t = require "spec"

local tokenizers = "../shared/data/tokenizers/"

local function needs(path)
  if not t.exists(path) then t.skip("reference data missing: " .. path) end
  return path
end

-- Whether one text of a list holds every part.
local function says(list, ...)
  for _, text in ipairs(list) do
    local all = true
    for i = 1, select("#", ...) do all = all and text:find(select(i, ...), 1, true) end
    if all then return true end
  end
  return false
end

local function expect_says(list, ...)
  t.ok(says(list, ...), ("no text says %s in:\n%s"):format(table.concat({ ... }, " … "), table.concat(list, "\n")))
end

t.test("a tokenizer with more ids than rows is refused with both numbers and the remedy", function()
  local own = folder_of.llama(32000)
  local cases = {
    { "GPT-2 on BERT", t.golden "bert-sequence", tokenizers .. "gpt2/vocab.json", "50256", "400" },
    { "Llama-3 on Llama-2", own, tokenizers .. "llama3/tokenizer.model", "128", "32000" },
    { "T5 on a small Llama", t.golden "llama-gqa", tokenizers .. "t5-small/spiece.model", "31999", "384" },
  }
  for _, case in ipairs(cases) do
    local what, model, file, id, rows = unpack(case)
    needs(file)
    local raised = t.raises_text(function() pl.load(model, { tokenizer = file }) end, "load: tokenizer id " .. id, "(the model has " .. rows .. ")",
      "belongs to another model", "give the tokenizer that was trained with it")
    t.equal(raised.code, "pairing", what)
    local m = pl.load(model, { tokenizer = false })
    local verdict = pl.check(m, pl.tokenizer(file))
    t.equal(verdict.ok, false, what)
    expect_says(verdict.errors, id, rows, "give the tokenizer")
  end
end)

local function with_added(tokens)
  return folder_of.copy(t.golden "llama-gqa", { ["added_tokens.json"] = tokens })
end

t.test("tokens added without resizing the embedding are refused with both numbers and the remedy", function()
  local path = with_added '{"<npc>": 384, "<end>": 385}'
  local raised = t.raises_text(function() pl.load(path) end, "ids 384 to 385", "the model has 384", "2 tokens were added (<npc> to <end>)",
    "without resizing the embedding", "resize the model's embedding to 386 rows")
  t.equal(raised.code, "pairing")
  t.raises_text(function() pl.load(with_added '{"<npc>": 384}') end, "tokenizer id 384 has no", "1 token was added (<npc>)", "385 rows")
  local m = pl.load(path, { tokenizer = false })
  local verdict = pl.check(m, pl.tokenizer(path))
  t.equal(verdict.ok, false)
  expect_says(verdict.errors, "384", "385", "386 rows")
end)

t.test("padding rows above the vocabulary are legal and noted", function()
  local t5 = needs(tokenizers .. "t5-small/spiece.model")
  for _, case in ipairs { { 32128, 32000, t5 }, { 384 + 40, 384, t.golden "llama-gqa" } } do
    local rows, ids, tokenizer = unpack(case)
    local m = pl.load(folder_of.llama(rows), { tokenizer = tokenizer })
    local verdict = pl.check(m)
    t.ok(verdict.ok)
    expect_says(verdict.notes, ("%d rows, the tokenizer %d ids"):format(rows, ids), ("ids %d to %d"):format(ids, rows - 1), "never sampled")
    t.ok(not says(verdict.warnings, "rows"))
  end
end)

t.test("Qwen: 151,665 ids on 151,936 rows", function()
  local qwen = needs(tokenizers .. "qwen/qwen.tiktoken")
  local folder = folder_of.llama(151936)
  core.write_file(folder .. "/qwen.tiktoken", core.read_file(qwen))
  core.write_file(folder .. "/tokenizer_config.json", core.read_file(tokenizers .. "qwen/qwen2.5-tokenizer_config.json"))
  local m = pl.load(folder)
  local verdict = pl.check(m)
  t.ok(verdict.ok)
  expect_says(verdict.notes, "151936 rows, the tokenizer 151665 ids", "ids 151665 to 151935", "never sampled")
end)

t.test("many rows without a token are a warning", function()
  local m = pl.load(folder_of.llama(2000), { tokenizer = t.golden "llama-gqa" })
  expect_says(m.warnings, "2000 rows", "384 ids", "1616 rows (81 %)", "another model")
end)

t.test("padding rows are never sampled", function()
  local m = pl.load(folder_of.llama(400, 390), { tokenizer = t.golden "llama-gqa", compute = "f32" })
  local best = m:forward({ { 1, 40, 41 } }).logits:argmax("vocab"):tolist()[1]
  t.ok(best == 390 or best == 391, "the padding rows should win without the mask, got " .. tostring(best))
  for _, options in ipairs { { do_sample = false }, { do_sample = true, temperature = 1.5, seed = 3 }, { do_sample = false, num_beams = 3 } } do
    options.max_new_tokens, options.eos_token_id = 24, {}
    local result = m:generate({ ids = { 1, 40, 41 } }, options)
    t.equal(#result.ids, 24)
    for _, id in ipairs(result.ids) do t.ok(id < 384, "sampled padding row " .. id) end
  end
end)

t.test("special ids that disagree are warned of, naming each file", function()
  local golden = t.golden "llama-gqa"
  local config = folder_of.changed(golden .. "/config.json", '"eos_token_id": 2', '"eos_token_id": 7')
  local m = pl.load(folder_of.copy(golden, { ["config.json"] = config, ["generation_config.json"] = '{"eos_token_id": [2, 9], "bos_token_id": 1}' }))
  expect_says(m.warnings, "eos_token_id: config.json says 7, generation_config.json says {2, 9}, the tokenizer says 2")
  t.ok(not says(m.warnings, "bos_token_id"))
  config = folder_of.changed(golden .. "/config.json", '"eos_token_id": 2', '"eos_token_id": 32000')
  m = pl.load(folder_of.copy(golden, { ["config.json"] = config }))
  expect_says(m.warnings, "eos_token_id: config.json says 32000", "the model has 384")
end)

t.test("a head with other rows than the embedding is refused with both sizes", function()
  local folder = folder_of.llama(384)
  local stored = pl.open(folder .. "/model.safetensors").tensors
  stored["lm_head.weight"] = pl.random({ 390, 8 }, { seed = 1, axes = { "out", "in" } })
  pl.save(folder .. "/model.safetensors", stored)
  t.raises_text(function() pl.load(folder) end, "384", "390", "lm_head")
end)

t.test("a tokenizer of another kind, and one that allows more tokens than there are positions", function()
  local golden = t.golden "gemma2-softcap"
  local long = folder_of.changed(golden .. "/tokenizer_config.json", "{", '{"model_max_length": 100000,')
  local m = pl.load(folder_of.copy(golden, { ["tokenizer_config.json"] = long }))
  expect_says(m.warnings, "the tokenizer allows 100000 tokens, the model has " .. m.max_tokens .. " positions")
  local bert = pl.load(t.golden "bert-sequence", { tokenizer = false })
  expect_says(pl.check(bert, pl.tokenizer(golden)).warnings, "a sentencepiece tokenizer does not fit family bert")
end)

t.test("a tokenizer without a padding token is noted, and why that is safe", function()
  local m = pl.load(t.golden "llama-gqa")
  t.equal(m.tokenizer.specials.pad, nil)
  expect_says(pl.check(m).notes, "no padding token", "behind a mask", "never computed")
  local padded = m.tokenizer:encode({ "a b c d", "a" }):padded()
  t.ok(m:forward(padded).logits:tolist()[2])
end)

t.test("two bos ids are warned of once", function()
  local m = pl.load(t.golden "llama-gqa", { compute = "f32" })
  local heard = {}
  pl.on_warning(function(text) heard[#heard + 1] = text end)
  m:forward(m.tokenizer:encode "a b")
  t.equal(#heard, 0)
  m:forward(m.tokenizer:encode "<s>a b")
  m:forward { 1, 1, 40 }
  pl.on_warning(nil)
  t.equal(#heard, 1)
  expect_says(m.warnings, "row 1 begins with two bos ids (1)", "special=false")
end)

t.test("a chat template that writes what is no token, or bos itself", function()
  local golden = t.golden "llama-gqa"
  local template = folder_of.changed(golden .. "/tokenizer_config.json", "{",
    [[{"chat_template": "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['content'] }}{% endfor %}",]])
  local m = pl.load(folder_of.copy(golden, { ["tokenizer_config.json"] = template }))
  expect_says(m.warnings, "the chat template", "writes <|im_start|>, which is no token")
  expect_says(pl.check(m).notes, "writes <s> itself", "special=false")
end)

t.test("tokens added at run time: those without a row are refused, before anything changes", function()
  local m = pl.load(folder_of.llama(386), { tokenizer = t.golden "llama-gqa" })
  local tok = m.tokenizer
  t.raises_text(function() tok:add { "<a>", "<b>", "<c>" } end, "add: id 386 would have no embedding row", "has 386)", "to 387 rows", "pl.tokenizer")
  t.equal({ tok.max_id, tok:id "<a>" }, { 383 })
  t.equal(tok:add { "<a>", "<b>" }, { 384, 385 })
  t.equal(tok:add { "<a>" }, { 384 })
  t.ok(pl.check(m).ok)
  t.ok(m:forward(tok:encode "x<b>").logits)
  local apart = pl.tokenizer(t.golden "llama-gqa")
  apart:add { "<a>", "<b>", "<c>" }
  local verdict = pl.check(m, apart)
  t.equal(verdict.ok, false)
  expect_says(verdict.errors, "tokenizer id 386", "the model has 386", "resize")
  t.raises_text(function() m:forward(apart:encode "x<c>") end, "id 386 has no embedding row", "0 to 385")
end)

t.test("ids without a row are refused before they are looked up", function()
  local m = pl.load(t.golden "llama-gqa", { tokenizer = false })
  for _, id in ipairs { 384, 2 ^ 31 - 1, -1 } do
    local cases = {
      forward = function() m:forward { { 1, 2 }, { 1, id } } end, generate = function() m:generate { ids = { 1, id } } end,
      batch = function() m:forward(pl.batch { { 1, id } }) end, trace = function() m:trace({ { 1, id } }, "embeddings") end,
      score = function() m:score { { 1, id } } end, embed = function() m:embed { { 1, id } } end,
    }
    for what, call in pairs(cases) do
      local fine, err = pcall(call)
      t.equal(fine, false, what .. " took id " .. id)
      t.ok(tostring(err):find(("%d"):format(id), 1, true), what .. ": " .. tostring(err))
    end
  end
  t.ok(m:forward { { 1, 383 } }.logits)
end)

-- ---------------------------------------------------------------- probe

local function probe(m, tokenizer) return pl.check(m, tokenizer, { probe = true }) end

t.test("probe: a language model with its own tokenizer, and with a stranger's of the same size", function()
  local tales = needs "scripts/models/tales/config.json":match "^(.*)/"
  local verdict = probe(pl.load(tales))
  t.equal({ verdict.ok, verdict.warnings, verdict.probe.verdict }, { true, {}, "own" })
  t.ok(verdict.probe.everyday.z > 7 and verdict.probe.scores.auc > 0.6)
  local stranger = folder_of.copy(tales, { ["tokenizer.model"] = folder_of.shuffled_pieces(core.read_file(tales .. "/tokenizer.model")) })
  local m = pl.load(stranger)
  t.equal(m.warnings, {}, "only the probe sees it")
  verdict = probe(m)
  t.equal({ verdict.ok, verdict.probe.verdict }, { false, "stranger" })
  t.ok(math.abs(verdict.probe.related.z) < 3 and math.abs(verdict.probe.everyday.z) < 3, "no better than chance")
  expect_says(verdict.warnings, "rows of", "related pieces", "chance: 0.50")
  expect_says(verdict.errors, "signs agree", "belongs to another model", "trained with it")
end)

t.test("probe: a classifier with its own tokenizer, and with a stranger's of the same size", function()
  local reviews = needs "scripts/models/reviews/config.json":match "^(.*)/"
  local verdict = probe(pl.load(reviews))
  t.equal({ verdict.ok, verdict.warnings, verdict.probe.verdict }, { true, {}, "own" })
  t.ok(verdict.probe.answers.right >= 13, "right: " .. tostring(verdict.probe.answers.right))
  local words = folder_of.shuffled_lines(core.read_file(reviews .. "/vocab.txt"), 5)
  local stranger = folder_of.copy(reviews, { ["vocab.txt"] = words, ["tokenizer.json"] = false })
  local m = pl.load(stranger)
  t.equal({ m.tokenizer.vocab_size, m.warnings }, { m.vocab_size, {} }, "only the probe sees it")
  verdict = probe(m)
  t.equal({ verdict.ok, verdict.probe.verdict }, { false, "stranger" })
  expect_says(verdict.errors, "signs agree", "belongs to another model")
end)

t.test("probe: untrained weights get no verdict", function()
  for _, name in ipairs { "llama-gqa", "bert-base", "bert-masked", "gpt2-plain", "t5-relu-tied", "bart-plain", "roberta-masked", "qwen3-qknorm" } do
    local verdict = probe(pl.load(t.golden(name)))
    t.equal({ verdict.ok, verdict.probe.verdict }, { true, "untrained" }, name)
    expect_says(verdict.notes, "cannot tell", "untrained")
  end
end)

t.test("another tokenizer than the model's own is an error, unless the probe finds that it fits better", function()
  local tales = needs "scripts/models/tales/config.json":match "^(.*)/"
  local shuffled = folder_of.copy(tales, { ["tokenizer.model"] = folder_of.shuffled_pieces(core.read_file(tales .. "/tokenizer.model")) })
  local m = pl.load(tales)
  for _, opts in ipairs { {}, { probe = true } } do
    local verdict = pl.check(m, pl.tokenizer(shuffled), opts)
    t.equal(verdict.ok, false)
    expect_says(verdict.errors, shuffled, "is not the model's own tokenizer", tales)
  end
  t.equal(pl.check(m, pl.tokenizer(tales)).ok, true)
  local verdict = probe(pl.load(shuffled), m.tokenizer)
  t.equal({ verdict.ok, verdict.probe.verdict }, { true, "own" })
  expect_says(verdict.warnings, "is not the model's own tokenizer", "the probe says that it fits the weights")
end)

t.test("remove the folders", folder_of.remove_all)
