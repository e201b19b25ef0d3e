-- Options: one rule for all that take them. An option that nobody knows is an error with a way out, never
-- a list of fifty names; words that people bring from elsewhere are answered by meaning.
local pl = require "perilune"
local core = require "perilune.core"
local help = require "perilune.help.help"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local encoder = pl.load("tests/golden/bert-base", { compute = "f32" })
local tok, engine = m.tokenizer, pl.engine(m)
local batch = tok:encode { "a b", "c" }
local x = pl.zeros({ 2, 3 }, { axes = { "batch", "hidden" } })
local text = pl.pipeline("text-generation", m)
local logits = m:forward(batch, { rows = "all" }).logits

-- Everything public that takes a table of options.
local surface = {
  ["pl.load"] = function(o) pl.load("scripts/models/tales", o) end,
  ["pl.estimate"] = function(o) pl.estimate("scripts/models/tales", o) end,
  ["pl.check"] = function(o) pl.check(m, tok, o) end,
  ["pl.engine"] = function(o) pl.engine(m, o) end,
  ["pl.tokenizer"] = function(o) pl.tokenizer("scripts/models/tales", o) end,
  ["pl.batch"] = function(o) pl.batch({ { 1 } }, o) end,
  ["pl.collate"] = function(o) pl.collate({ { ids = { 1 } } }, { ids = "pad" }, o) end,
  ["pl.collate, a column"] = function(o) pl.collate({ { ids = { 1 } } }, { ids = t.with(o, { pad = 0 }) }) end,
  ["pl.lengths"] = function(o) pl.lengths({ "x" }, tok, o) end,
  ["pl.tensor"] = function(o) pl.tensor({ 1 }, o) end,
  ["pl.zeros"] = function(o) pl.zeros({ 1 }, o) end,
  ["pl.ones"] = function(o) pl.ones({ 1 }, o) end,
  ["pl.arange"] = function(o) pl.arange(1, 2, o) end,
  ["pl.random"] = function(o) pl.random({ 1 }, o) end,
  ["pl.family"] = function(o) pl.family(t.with(o, { name = "z", architectures = {}, config = print, heads = {} })) end,
  ["pl.pipeline"] = function(o) pl.pipeline("text-generation", m, o) end,
  ["pl.pipeline of stages"] = function(o) pl.pipeline({ function(row) return row end }, o) end,
  ["pl.policy.fifo"] = function(o) pl.policy.fifo(o) end,
  ["pl.policy.fill"] = function(o) pl.policy.fill(o) end,
  ["p:each"] = function(o) text:each({ "x" }, o) end,
  ["tok:encode"] = function(o) tok:encode("x", o) end,
  ["tok:encode, truncate"] = function(o) tok:encode("x", { truncate = t.with(o, { to = 4 }) }) end,
  ["tok:encode, a pair"] = function(o) tok:encode(t.with(o, { text = "x" })) end,
  ["tok:ids"] = function(o) tok:ids("x", o) end,
  ["tok:decode"] = function(o) tok:decode({ 1 }, o) end,
  ["tok:decoder"] = function(o) tok:decoder(o) end,
  ["tok:tokens"] = function(o) tok:tokens("x", o) end,
  ["tok:explain"] = function(o) tok:explain("x", o) end,
  ["tok:chat"] = function(o) tok:chat({ { role = "user", content = "x" } }, o) end,
  ["tok:stage"] = function(o) tok:stage(o) end,
  ["b:padded"] = function(o) batch:padded(o) end,
  ["b:pad"] = function(o) batch:pad(logits, o) end,
  ["m:forward"] = function(o) m:forward("x", o) end,
  ["m:embed"] = function(o) encoder:embed("x", o) end,
  ["m:score"] = function(o) m:score("x", o) end,
  ["m:cache"] = function(o) m:cache(o) end,
  ["m:trace"] = function(o) m:trace("x", "norm", o) end,
  ["m:stage"] = function(o) m:stage(o) end,
  ["m:fingerprint"] = function(o) m:fingerprint(o) end,
  ["m:generate"] = function(o) m:generate("x", o) end,
  ["m:generate, one prompt's"] = function(o) m:generate { t.with(o, { prompt = "x" }) } end,
  ["m:stream"] = function(o) m:stream("x", o) end,
  ["e:submit"] = function(o) engine:submit("x", o) end,
  ["e:step"] = function(o) engine:step(o) end,
  ["t:matmul"] = function(o) x:matmul(x, t.with(o, { over = "hidden" })) end,
  ["t:sort"] = function(o) x:sort("hidden", o) end,
  ["t:hist"] = function(o) x:hist(o) end,
}
for _, task in ipairs { "chat", "text-generation" } do
  surface["pipeline " .. task] = function(o) pl.pipeline(task, m, o) end
end
for task, model in pairs { ["feature-extraction"] = "bert-base", ["sentence-similarity"] = "bert-base", ["fill-mask"] = "bert-masked",
  ["question-answering"] = "bert-question", ["text-classification"] = "bert-sequence", ["token-classification"] = "bert-token",
  ["zero-shot-classification"] = "bert-sequence", summarization = "t5-relu-tied", translation = "t5-relu-tied",
  ["text2text-generation"] = "t5-relu-tied" } do
  surface["pipeline " .. task] = function(o) pl.pipeline(task, "tests/golden/" .. model, o) end
end

local names = {}
for name in pairs(surface) do names[#names + 1] = name end
table.sort(names)

t.test("an unknown option is an error everywhere, with a way out", function()
  for _, name in ipairs(names) do
    local fine, err = pcall(surface[name], { zzqq = 1 })
    t.ok(not fine, name .. " takes any option")
    local text_ = tostring(err)
    t.ok(type(err) == "table" and (err.code == "option" or err.code == "argument"), name .. ": " .. text_)
    t.ok(text_:find('"zzqq"', 1, true), name .. ": " .. text_)
    t.ok(err.hint and err.hint ~= "", name .. " says no way out: " .. text_)
    t.ok(#text_ < 420, name .. ": too long: " .. text_)
    local asked = err.hint:match "perilune help (%S+) lists"
    t.ok(not asked or not help.text(asked):find "^nothing is called", name .. ": there is no help of " .. tostring(asked))
  end
end)

-- What people write, and a part of the answer.
local meanings = {
  { "m:generate", "temp", "temperature" }, { "m:generate", "max_tokens", "max_new_tokens" }, { "m:generate", "maxTokens", "max_new_tokens" },
  { "m:forward", "use_cache", "always kept" }, { "m:generate", "beams", "num_beams" }, { "m:generate", "repeat_penalty", "repetition_penalty" },
  { "m:generate", "stop_sequences", '"stop"' }, { "m:generate", "streamer", "on_token" }, { "m:generate", "seeds", '"seed"' },
  { "m:generate", "tempature", "temperature" }, { "m:generate", "do_smaple", "do_sample" }, { "m:stream", "logit_bias", "sequence_bias" },
  { "m:generate, one prompt's", "max_length_tokens", "max_new_tokens" }, { "e:submit", "top-p", "top_p" },
  { "pl.load", "torch_dtype", "compute" }, { "pl.load", "load_in_8bit", "quantize" }, { "pl.load", "dev", "device" },
  { "pl.load", "trust_remote_code", "no code" }, { "pl.load", "num_threads", "threads" },
  { "tok:encode", "return_tensors", "are tensors" }, { "tok:encode", "max_length", "truncate" }, { "tok:encode", "padding", "padded" },
  { "tok:encode", "add_special_tokens", "special" }, { "tok:decode", "skip_special_tokens", "special" },
  { "tok:ids", "truncation", "truncate" }, { "tok:encode, a pair", "text_pair", "pair" },
  { "b:padded", "padding_side", "side" }, { "b:padded", "pad_to_multiple_of", "multiple_of" }, { "b:padded", "pad_token_id", "pad_id" },
  { "m:forward", "attention_mask", "padded" }, { "m:forward", "output_hidden_states", "outputs" }, { "m:forward", "past_key_values", "cache" },
  { "m:forward", "decoder_input_ids", "decoder" }, { "m:embed", "normalize_embeddings", "normalize" }, { "m:embed", "batch_size", "ragged" },
  { "m:embed", "show_progress_bar", "on_progress" }, { "pipeline text-classification", "return_all_scores", "top_k" },
  { "pipeline token-classification", "grouped_entities", "aggregation_strategy" }, { "pipeline token-classification", "doc_stride", "stride" },
  { "pipeline zero-shot-classification", "labels", "candidate_labels" }, { "pl.zeros", "dtpe", "dtype" }, { "pl.random", "manual_seed", "seed" },
  { "pl.engine", "max_token", "max_tokens" }, { "pl.pipeline", "gpu", "device" },
}

t.test("near misses, by letters and by meaning", function()
  for _, case in ipairs(meanings) do
    local _, err = pcall(surface[case[1]], { [case[2]] = 1 })
    t.ok(tostring(err.hint):find(case[3], 1, true), ("%s, %s: expected %q in: %s"):format(case[1], case[2], case[3], tostring(err)))
  end
end)

-- Methods and fields of other libraries.
local members = {
  { function() return x:add(1) end, "a + b" }, { function() return x:reshape(6) end, "split_axis" }, { function() return x:view(6) end, "split_axis" },
  { function() return x:permute() end, "order" }, { function() return x:transpose() end, "order" }, { function() return x:unsqueeze(1) end, "expand" },
  { function() return x:numpy() end, "tolist" }, { function() return x:mm(x) end, "matmul" }, { function() return x:clone() end, "copy" },
  { function() return x:float() end, "f32" }, { function() return x:sofmax() end, "softmax" }, { function() return tok:tokenize "x" end, "tokens" },
  { function() return tok:apply_chat_template {} end, "chat" }, { function() return tok.pad_token_id end, "specials.pad" },
  { function() return tok:batch_decode {} end, "decode" }, { function() return tok "x" end, "tok:encode" }, { function() return batch.input_ids end, "ids" },
  { function() return batch.attention_mask end, "padded" }, { function() return m:eval() end, "only run" }, { function() return m:parameters() end, "shapes" },
  { function() return m:generat() end, "generate" }, { function() return pl.from_pretrained "x" end, "load" }, { function() return pl.concat {} end, "pl.cat" },
  { function() return pl.lod "x" end, "pl.load" }, { function() return engine:sumbit "x" end, "submit" },
  { function() return pl.zeros({ 1 }, { dtype = "float32" }) end, "f32" }, { function() return pl.zeros({ 1 }, { dtype = "torch.bfloat16" }) end, "bf16" },
  { function() return pl.load("scripts/models/tales", { device = "gpu" }) end, "cuda" },
  { function() return pl.load("scripts/models/tales", { compute = "float16" }) end, "bf16" },
  { function() return m:forward { idss = { { 1 } } } end, "ids" }, { function() return m:generate { promt = "x" } end, "prompt" },
  { function() return m:forward { ids = { { 1 } }, attention_mask = { { 1 } } } end, "mask" },
  { function() return m:trace("x", "layers.9.mlp") end, "layers go from 0 to 5" }, { function() return m:hook("layers.77", print) end, "layers go from 0 to 5" },
  { function() return m:trace("x", "layers.0.atention") end, "layers.0.attention" }, { function() return m:forward { { 1, "a" } } end, 'got "a"' },
}

t.test("members, values, keys and paths that are not there", function()
  for i, case in ipairs(members) do
    local fine, err = pcall(case[1])
    t.ok(not fine and type(err) == "table", "case " .. i)
    t.ok(tostring(err):find(case[2], 1, true), ("case %d: expected %q in: %s"):format(i, case[2], tostring(err)))
  end
end)

-- Values of the wrong kind: an error table that says where, never Lua's own complaint from inside.
local step = function(row) return row end
local wrong = {
  function() pl.rope_options() end, function() pl.rope_options(5) end, function() pl.rope_options({}, "x") end, function() pl.scope(5) end,
  function() pl.scope() end, function() tok:explain(5) end, function() tok:chat(5) end, function() tok:chat() end, function() tok:stage(5) end,
  function() m:stage(5) end, function() pl.pipeline { 5 } end, function() pl.pipeline {} end, function() pl.pipeline() end, function() pl.pipeline(5) end,
  function() pl.pipeline("ner", 5) end, function() pl.pipeline { step }:each(5) end, function() pl.pipeline { step }() end,
  function() m:trace("x", "norm").each(5) end, function() text() end, function() text(5) end, function() text:each() end, function() m:generate() end,
  function() m:hook() end, function() m:hook(5, print) end, function() engine:submit() end, function() engine:submit("x", 5) end,
  function() m:label "x" end, function() pl.where(1) end, function() pl.open(5) end, function() pl.save("x", 5) end,
  function() tok:chat({ { role = "user", content = "x" } }, { template = "{% for i in range(none) %}x{% endfor %}" }) end,
}

t.test("wrong kinds are told where they were given", function()
  for i, call in ipairs(wrong) do
    local fine, err = pcall(call)
    t.ok(not fine and type(err) == "table" and err.code ~= "internal", ("case %d: %s"):format(i, tostring(err)))
    for _, raw in ipairs { "attempt to", "bad argument", "stdlib/", "nil value" } do
      t.ok(not tostring(err):find(raw, 1, true), ("case %d: %s"):format(i, tostring(err)))
    end
  end
end)

t.test("a hook that gives rows of another batch acts, and one of another form or an element that is set by index, lead on", function()
  local kept = m:trace("Once upon a time", "layers.2")["layers.2"]
  local handle = m:hook("layers.3", function() return kept end)
  t.equal(tostring(m:forward("Once upon a time").logits.shape), "[batch=1, vocab=2048]")
  t.raises_text(function() m:forward "Once upon" end, "layers.3", "another form")
  handle:remove()
  handle = m:hook("layers.3", function(x_) return x_:copy():set(kept) end)
  t.equal(tostring(m:forward("Once upon a time").logits.shape), "[batch=1, vocab=2048]")
  handle:remove()
  t.raises_text(function() x[5] = 1 end, "t:set(value, { axis=position })")
end)

t.test("one in, one out; a list in, a list out; nothing in a list, nothing in its answer", function()
  local size = encoder:embed({ "a" }):size "hidden"
  t.equal(tostring(encoder:embed("a").shape), ("[hidden=%d]"):format(size))
  t.equal(tostring(encoder:embed({ 5, 6 }).shape), ("[hidden=%d]"):format(size))
  t.equal(tostring(encoder:embed({ text = "a", pair = "b" }).shape), ("[hidden=%d]"):format(size))
  t.equal(tostring(encoder:embed({ "a", "b" }).shape), ("[batch=2, hidden=%d]"):format(size))
  t.equal(tostring(encoder:embed({}).shape), ("[batch=0, hidden=%d]"):format(size))
  t.ok(encoder:embed("a"):equal(encoder:embed({ "a" }):at { batch = 1 }))
  t.equal({ m:generate {}, m:score {}, text {} }, { {}, {}, {} })
end)

t.test("the table of words gives names that are known somewhere, or a sentence", function()
  t.equal(core.did_you_mean("zzqq", { "a_long_name" }), nil)
  t.equal(core.did_you_mean("max_tokens", { "max_new_tokens", "top_k" }), 'did you mean "max_new_tokens"?')
  t.equal(core.unknown_name_hint("zzqq", { "b", "a" }, "options", "f"), "options are b, a")
  local many = {}
  for i = 1, 40 do many[i] = "name_" .. i end
  t.equal(core.unknown_name_hint("zzqq", many, "options", "generate"), "there are 40 options: perilune help generate lists them")
end)

t.test("what is given by position or is of another kind says what there is", function()
  t.raises(function() pl.tensor({ { 1, 2 }, { 3, 4 } }, { "row", "column" }) end, "options are named; got 1.*there are axes=, dtype=")
  t.raises(function() tok:decode(batch) end, "expected a list of ids, got a Batch.*batch:row%(i%).ids")
  t.raises(function() text("x", { max_new_tokens = 2 }) end, "one argument is taken.*options are given when a pipeline is made: pl.pipeline%(\"text%-generation\"")
  t.raises(function() text("x", "y") end, "one argument is taken")
end)
