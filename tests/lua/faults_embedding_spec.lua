-- The settings of sentence-transformers: every key changes the vector as published, or is named. And what
-- pipelines say of texts that were cut.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local base = "tests/golden/bert-base"
local text, long = "A longer line about the sea and the harbour", "one two three four five six seven eight nine ten"

local modules = [=[[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
  {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"}%s]]=]
local normalize = [=[,{"idx":2,"name":"2","path":"2_Normalize","type":"sentence_transformers.models.Normalize"}]=]

-- The golden BERT with such settings beside it.
local function model(pooling, files, more)
  local folder = os.tmpname()
  os.remove(folder)
  core.make_directory(folder .. "/1_Pooling", "test")
  for _, name in ipairs(core.list_directory(base)) do
    if not name:find "^expected" then core.write_file(folder .. "/" .. name, core.read_file(base .. "/" .. name)) end
  end
  core.write_file(folder .. "/modules.json", modules:format(more or ""))
  core.write_file(folder .. "/1_Pooling/config.json", pooling)
  for name, content in pairs(files or {}) do core.write_file(folder .. "/" .. name, content) end
  return pl.load(folder, { compute = "f32" })
end

local plain = pl.load(base, { compute = "f32" })
local states = plain:forward(text, { outputs = { "last_hidden_state" } }).last_hidden_state
local rows = states:tolist()
if type(rows[1][1]) == "table" then rows = rows[1] end

-- The modes by their definition, from the states.
local function by_hand(mode)
  local n, out = #rows, {}
  for h = 1, #rows[1] do
    local sum, most, weighted = 0, -math.huge, 0
    for i, row in ipairs(rows) do
      sum, most, weighted = sum + row[h], math.max(most, row[h]), weighted + i * row[h]
    end
    out[h] = ({ mean = sum / n, max = most, cls = rows[1][h], lasttoken = rows[n][h], mean_sqrt_len_tokens = sum / math.sqrt(n),
      weightedmean = weighted / (n * (n + 1) / 2) })[mode]
  end
  return out
end

local function close(got, want, what)
  got = got:tolist()
  if type(got[1]) == "table" then got = got[1] end
  t.equal(#got, #want, what)
  for i, x in ipairs(want) do t.ok(math.abs(got[i] - x) < 1e-4, ("%s: %d: %g, expected %g"):format(what, i, got[i], x)) end
end

local function joined(...)
  local out = {}
  for _, mode in ipairs { ... } do for _, x in ipairs(by_hand(mode)) do out[#out + 1] = x end end
  return out
end

t.test("pooling: every mode, new spelling and old, one and several", function()
  local width = '"embedding_dimension": 48, '
  for _, case in ipairs {
    { '"pooling_mode": "mean"', { "mean" } }, { '"pooling_mode": "cls"', { "cls" } }, { '"pooling_mode": "max"', { "max" } },
    { '"pooling_mode": "lasttoken"', { "lasttoken" } }, { '"pooling_mode": "mean_sqrt_len_tokens"', { "mean_sqrt_len_tokens" } },
    { '"pooling_mode": "weightedmean"', { "weightedmean" } }, { '"pooling_mode": ["max", "cls"]', { "max", "cls" } },
    { '"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true', { "cls", "mean" } },
    { '"pooling_mode_weightedmean_tokens": true', { "weightedmean" } }, { '"pooling_mode_mean_tokens": false', { "mean" } },
  } do
    local m = model("{" .. width .. case[1] .. "}")
    close(m:embed(text), joined(unpack(case[2])), case[1])
    m:close()
  end
end)

t.test("what is not known raises or is named", function()
  for _, case in ipairs {
    { '{"pooling_mode": "median"}', {}, "median" }, { '{"pooling_mode_sum_tokens": true}', {}, "pooling_mode_sum_tokens" },
    { "{}", { ["sentence_bert_config.json"] = '{"transformer_task": "text-generation"}' }, "transformer_task" },
    { "{}", { ["sentence_bert_config.json"] = '{"max_seq_length": "6"}' }, "max_seq_length" },
    { "{}", { ["config_sentence_transformers.json"] = '{"default_prompt_name": "q", "prompts": {}}' }, "default_prompt_name" },
    { "{}", { ["config_sentence_transformers.json"] = '{"model_type": "SparseEncoder"}' }, "SparseEncoder" },
    { "{}", {}, "Dense", [=[,{"idx":2,"name":"2","path":"2_Dense","type":"sentence_transformers.models.Dense"}]=] },
  } do
    local m = model(case[1], case[2], case[4])
    t.raises_text(function() m:embed(text) end, case[3])
    m:close()
  end
  local m = model('{"pooling_mode": "mean", "strange": 1}', { ["sentence_bert_config.json"] = '{"odd_key": true}' })
  local told = {}
  pl.on_warning(function(warning) told[#told + 1] = warning end)
  m:embed(text)
  m:embed(text)
  pl.on_warning(nil)
  t.equal(#told, 2)
  t.ok(table.concat(told):find "strange" and table.concat(told):find "odd_key", table.concat(told, "\n"))
  m:close()
end)

t.test("max_seq_length is known: longer texts raise, or are cut as published when asked", function()
  local m = model('{"pooling_mode": "mean"}', { ["sentence_bert_config.json"] = '{"max_seq_length": 6, "do_lower_case": false}' })
  local raised = t.raises_text(function() m:embed(long) end, "of which 6 count", 'truncate = "model"')
  t.equal(raised.code, "length")
  local want = m:embed(m.tokenizer:encode(long, { truncate = { to = 6 } })):tolist()[1]
  close(m:embed(long, { truncate = "model" }), want, "cut")
  close(m:embed(long, { truncate = 6 }), want, "cut to 6")
  local p = pl.pipeline("feature-extraction", m, { truncate = "model" })
  close(p(long), want, "the pipeline")
  t.raises_text(function() pl.pipeline("feature-extraction", m)(long) end, "of which 6 count")
  m:close()
end)

t.test("prompts, small letters, a shorter vector", function()
  local whole = '{"prompts": {"query": "the sea: ", "none": ""}, "default_prompt_name": "query", "similarity_fn_name": "cosine", "truncate_dim": 20}'
  local m = model('{"pooling_mode": "mean"}', { ["config_sentence_transformers.json"] = whole }, normalize)
  local function first20(list) return { unpack(list, 1, 20) } end
  local function unit(x)
    return plain:embed(x, { normalize = true }):tolist()
  end
  close(m:embed "harbour", first20(unit "the sea: harbour"), "the default prompt")
  close(m:embed("harbour", { prompt = "none" }), first20(unit "harbour"), "a prompt by name")
  close(m:embed("harbour", { prompt = false }), first20(unit "harbour"), "no prompt")
  t.raises_text(function() m:embed("harbour", { prompt = "quary" }) end, "no prompt")
  m:close()
  m = model('{"pooling_mode": "cls", "include_prompt": false}', { ["config_sentence_transformers.json"] = '{"prompts": {"q": "the sea: "}}' })
  local ids = m.tokenizer:ids "the sea: harbour"
  local at = #m.tokenizer:ids "the sea: " -- without the end: the first token behind the prompt
  local all = plain:forward({ ids }, { outputs = { "last_hidden_state" } }).last_hidden_state:tolist()
  close(m:embed("harbour", { prompt = "q" }), (type(all[1][1]) == "table" and all[1] or all)[at], "the prompt does not count")
  m:close()
end)

t.test("a saved model gives the same vectors", function()
  local m, to = model '{"pooling_mode": "cls"}', os.tmpname()
  os.remove(to)
  m:save(to)
  local again = pl.load(to, { compute = "f32" })
  t.ok(again:embed(text):equal(m:embed(text)))
  m:close()
  again:close()
end)

t.test("what was cut is said: in every answer, and once a run", function()
  local m = pl.load("tests/golden/bert-sequence", { compute = "f32" })
  local p, told = pl.pipeline("text-classification", m, { truncate = 8 }), {}
  pl.on_warning(function(warning) told[#told + 1] = warning end)
  local answers = p { long, "a", long }
  local one = p "a"
  local tops = pl.pipeline("text-classification", m, { truncate = 8, top_k = "all" })(long)
  local n = 0
  for _, answer in p:each(function() n = n + 1; return n < 600 and long or nil end, { progress = false }) do t.ok(answer.lost) end
  pl.on_warning(nil)
  local lost = #m.tokenizer:ids(long) - 8
  t.equal(answers[1].lost, lost)
  t.equal(answers[2].lost, nil)
  t.equal(answers[3].lost, lost)
  t.equal(one.lost, nil)
  t.equal(tops.lost, lost)
  t.equal(#told, 3)
  t.ok(told[1]:find "^2 of 3 inputs were cut", told[1])
  m:close()
end)

t.test("the name of a class: of an id, of a tensor of one or many", function()
  local m = pl.load("tests/golden/bert-sequence", { compute = "f32" })
  local logits = m:forward({ text, "a" }).logits
  local names = m:label(logits:argmax "class")
  t.equal(#names, 2)
  t.equal(m:label(logits:at({ batch = 1 }):argmax "class"), names[1])
  t.equal(m:label(m:forward(text).logits:argmax "class"), names[1])
  t.equal(m:label { 0, 1 }[2], m:label(1))
  t.raises_text(function() m:label(pl.tensor { 99 }) end, "no class has id")
  m:close()
end)
