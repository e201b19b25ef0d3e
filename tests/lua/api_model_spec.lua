-- Conventions, loading and model calls, to the letter of the Lua surface: what model_spec does not ask.
local before = {}
for name in pairs(_G) do before[name] = true end
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local nan = 0 / 0
local tales = "scripts/models/tales"
local m = pl.load(tales, { compute = "f32" })
local rows = { { 1, 722, 723, 261 }, { 1, 670, 1352 }, { 1 } }

t.test("no globals, ever", function()
  m:generate("The", { max_new_tokens = 2 })
  m:trace(rows, { "layers.*" })
  pl.engine(m):close()
  for name in pairs(_G) do t.ok(before[name] or name == "_", "global " .. tostring(name)) end
end)

t.test("pl itself: its names, its strangers", function()
  t.raises_text(function() return pl.policy.fifi, 1 end, "fifi", "fifo")
  t.raises_text(function() return pl.Load, 1 end, "Load", "load")
  t.raises(function() return pl[1], 1 end)
  t.ok(tostring(pl):find "perilune")
  t.equal(require "perilune", pl)
end)

t.test("methods called with a dot say so", function()
  for _, name in ipairs { "forward", "generate", "stream", "trace", "score", "embed", "memory", "cache", "eager", "close", "label", "program" } do
    t.raises_table(function() m[name] "text" end, "colon")
    t.raises_table(function() m[name]() end, "colon")
  end
  t.raises_table(function() m.forward { 1, 2 } end, "colon")
end)

t.test("errors are tables that print and concatenate, with everything in them", function()
  local err = t.raises_table(function() m:forward { { 1, 5000 } } end, "5000", "2047")
  t.ok(err.traceback:find("api_model_spec", 1, true))
  t.ok(err.message:find("api_model_spec.lua:%d+"), err.message)
  err = t.raises_table(function() return m:forward({ { 1, 2 } }, { rows = "all" }).logits + m:forward({ { 1 } }, { rows = "all" }).logits end, "add:")
  t.equal(#err.shapes, 2)
  t.ok(err.shapes[1]:find("token=2", 1, true) and err.shapes[2]:find("token=1", 1, true), err.message)
  err = t.raises_table(function() m:forward("x", { rowz = "all" }) end, "rowz", "rows")
  t.ok(err.hint:find("rows", 1, true))
  t.equal(err.code, "option")
  local value, raised = pl.try(m.forward, m, { { 1, 5000 } })
  t.equal(value, nil)
  t.equal(raised.op, "forward")
  value, raised = pl.try(function() error "plain" end)
  t.equal({ value, tostring(raised):match "plain$" }, { nil, "plain" })
  t.equal({ pl.try(function() end) }, {})
  t.equal(select("#", pl.try(function() return nil, 2 end)), 2)
  value, raised = pl.try(7)
  t.equal(value, nil)
  t.ok(raised)
end)

t.test("load: options, spelled wrong, out of range, not yet there", function()
  for _, case in ipairs {
    { { device = "gpu" }, "gpu", "cpu" }, { { device = 1 }, "device" }, { { compute = "fp16" }, "fp16" }, { { cache = "f8" }, "f8" },
    { { threads = 0 }, "threads" }, { { threads = 1.5 }, "threads" }, { { threads = "2" }, "threads" }, { { threads = 1e9 }, "threads" },
    { { head = "casual" }, "casual", "causal" }, { { tokenizer = 5 }, "tokenizer" }, { { mmap = "yes" }, "mmap" },
    { { on_progress = true }, "on_progress" }, { { tokeniser = false }, "tokeniser", "tokenizer" }, { { 1 }, "load" },
    { { adapters = { 3 } }, "adapters" }, { { device_map = {} }, "device_map" }, { { compute = "int8" }, "int8" },
  } do
    t.raises_table(function() pl.load(tales, case[1]) end, case[2], case[3] or "")
  end
  for _, path in ipairs { "", "no/such", tales .. "/config.json", tales .. "/model.safetensors", "x.gguf", "/" } do
    t.raises_table(function() pl.load(path) end, "load")
  end
  for _, path in ipairs { 7, true, {}, print } do t.raises_table(function() pl.load(path) end, "path") end
  t.raises_table(function() pl.load() end, "path")
  t.raises_table(function() pl.load(tales, "cpu") end, "options")
  t.raises_table(function() pl.estimate "no/such" end, "estimate")
  t.raises_table(function() pl.estimate(tales, { dev = 1 }) end, "dev", "device")
end)

t.test("load: what it takes", function()
  t.equal(pl.load(tales .. "/").family, "llama")
  local calls, last = 0, nil
  local bare = pl.load(tales, { device = "cpu", compute = "f32", cache = "f32", mmap = false, threads = 1, tokenizer = m.tokenizer,
    head = "causal", on_progress = function(done, total) calls, last = calls + 1, { done, total } end })
  t.ok(calls > 1 and last[1] == last[2])
  t.ok(bare:forward(rows).logits:equal(m:forward(rows).logits))
  t.equal(bare:generate("The", { max_new_tokens = 3, do_sample = false }).text, m:generate("The", { max_new_tokens = 3, do_sample = false }).text)
  bare:close()
  t.raises(function() pl.load(tales, { on_progress = function() error "stop here" end }) end, "stop here")
  local base = pl.load(tales, { head = "base", compute = "f32" })
  local out = base:forward(rows)
  t.equal({ tostring(out.last_hidden_state.shape), out.logits }, { "[token=8, hidden=256]", nil })
  t.equal(type(pl.load(tales, { tokenizer = tales }).tokenizer), "userdata")
  t.raises_table(function() base:generate "x" end, "base", "causal")
end)

t.test("PERILUNE_DEVICE is the default device, an unknown one raises", function()
  local program = arg[-1]
  if not program then t.skip "the program's own path is not known" end
  local code = ("local pl = require 'perilune' pl.load '%s'"):format(tales)
  local function run(environment) return os.execute(("%s '%s' -e \"%s\" > /dev/null 2>&1"):format(environment, program, code)) end
  t.equal(run "PERILUNE_DEVICE=cpu", 0)
  t.ok(run "PERILUNE_DEVICE=abacus" ~= 0)
end)

t.test("scripts get arg and ..., and fail with a status", function()
  local program = arg[-1]
  if not program then t.skip "the program's own path is not known" end
  local script, out = os.tmpname(), os.tmpname()
  local function run(text)
    core.write_file(script, text)
    return os.execute(("'%s' '%s' one 'two words' > '%s' 2>&1"):format(program, script, out)), core.read_file(out)
  end
  local status, said = run "print(arg[0] ~= nil, arg[1], arg[2], #arg, select('#', ...), ...)"
  t.equal({ status, said }, { 0, "true\tone\ttwo words\t2\t2\tone\ttwo words\n" })
  status, said = run "require 'perilune'.load 'no/such'"
  t.ok(status ~= 0 and said:find("no/such", 1, true), said)
  status, said = run "error 'boom'"
  t.ok(status ~= 0 and said:find("boom", 1, true), said)
  t.ok(run "os.exit(3)" ~= 0)
  os.remove(script)
  os.remove(out)
end)

t.test("what a model and its machine say of themselves", function()
  local memory = m:memory()
  for _, key in ipairs { "weights", "cache", "workspace" } do t.equal(type(memory[key]), "number", key) end
  t.ok(memory.by_device.cpu >= memory.weights)
  local print_one, print_two = m:fingerprint(), pl.load(tales, { compute = "f32" }):fingerprint()
  t.equal({ type(print_one), print_one == print_two }, { "string", true })
  t.ok(print_one ~= pl.load(t.golden "llama-gqa"):fingerprint())
  t.ok(#m:program() > 20 and tostring(m:program()):find("linear", 1, true))
  t.ok(#m:program "decode" > 20)
  t.raises_table(function() m:program "decod" end, "decod")
  t.raises_table(function() m:program(7) end, "program")
  local estimate = pl.estimate(tales)
  for _, key in ipairs { "weights", "cache_per_token", "workspace" } do t.equal(type(estimate[key]), "number", key) end
  t.equal(type(estimate.fits.cpu), "boolean")
  local device = pl.devices()[1]
  t.equal({ type(device.name), type(device.kind), type(device.memory), type(device.free), type(device.tier) },
    { "string", "string", "number", "number", "string" })
  local health = pl.health()
  t.equal({ health.ok, type(health.devices), health.devices[1].error }, { true, "table", nil })
  local verdict = pl.check(m)
  t.equal({ verdict.ok, verdict.errors, verdict.warnings }, { true, {}, {} })
  t.raises_table(function() pl.check "tales" end, "check")
  t.raises_table(function() pl.check(m, 7) end, "check")
  t.raises_table(function() pl.check(m, nil, { prob = true }) end, "probe")
  t.equal({ m.path, type(m.config), type(m.warnings), m.config.hidden_size }, { tales, "table", "table", 256 })
  local start = pl.clock()
  t.ok(type(start) == "number" and pl.clock() >= start)
end)

t.test("save: the same model again", function()
  local folder = os.tmpname()
  os.remove(folder)
  m:save(folder)
  local again = pl.load(folder, { compute = "f32" })
  t.ok(again:forward(rows).logits:equal(m:forward(rows).logits))
  t.equal(again:generate("The", { max_new_tokens = 4, seed = 1 }).text, m:generate("The", { max_new_tokens = 4, seed = 1 }).text)
  t.equal(again:fingerprint(), m:fingerprint())
  os.execute(("rm -r '%s'"):format(folder))
  t.raises_table(function() m:save() end, "save")
  t.raises_table(function() m:save "/proc/nowhere/x" end, "save")
end)

t.test("strange inputs to forward", function()
  for _, input in ipairs { 7, true, print, {}, { {} }, { 1, "a" }, { "a", 1 }, { 1, nan }, { 1.5 }, { -1 }, { 2048 }, { { 1 }, {} }, { { 1 }, 5 },
    { { { 1 } } }, { ids = { { 1 } } }, { mask = { { 1 } } }, { x = 1 }, pl.tensor { 1.5 }, pl.ones({ 2, 2 }), pl.policy.fifo(), m } do
    local err = t.raises_table(function() m:forward(input) end)
    t.ok(err.message:find "^%w+:", err.message)
  end
  t.raises_table(function() m:forward() end, "forward")
  t.raises_table(function() m:forward(nil, { rows = "all" }) end, "nil")
  t.raises_table(function() m:forward("x", "all") end, "options")
  t.ok(m:forward(pl.tensor({ 1, 722 }, { dtype = "i32" })).logits:equal(m:forward({ 1, 722 }).logits))
  t.ok(m:forward({ text = "The" }).logits:equal(m:forward("The").logits))
  t.equal(m:forward("").logits.shape.batch, 1)         -- the start token alone
  t.equal(m:forward({ { 1 }, "The" }).logits.shape.batch, 2)
end)

t.test("strange options of forward", function()
  for _, o in ipairs { { rows = 1 }, { rows = "first" }, { rows = {} }, { rows = { { 1 }, { 9 }, { 1 } } }, { rows = { { 0 }, { 1 }, { 1 } } },
    { rows = { { "1" }, { 1 }, { 1 } } }, { rows = { 1, 1, 9 } }, { outputs = "logits" }, { outputs = { 7 } }, { outputs = { "logit" } },
    { outputs = { "pooled" } }, { decoder = { 1 } }, { cache = {} }, { cache = 7 }, { adapter = "x" } } do
    t.raises_table(function() m:forward(rows, o) end)
  end
  local out = m:forward(rows, { rows = { { -1 }, { 1, 2 }, {} } })
  t.equal(out.logits.shape.token, 3)
  t.equal({ out.batch.size, out.hidden_states, out.pooled }, { 3, nil, nil })
  t.equal(m:forward(rows, { outputs = { "logits", "hidden_states" } }).logits.shape.batch, 3)
  t.equal(m:forward(rows, { outputs = {} }).logits, nil)
end)

t.test("hidden states: embeddings, layers, the last through the norm", function()
  local states = m:forward(rows, { outputs = { "hidden_states" }, rows = "all" }).hidden_states
  local tr = m:trace(rows, { "embeddings", "layers.*", "norm" })
  t.equal(#states, 7)
  t.ok(states[1]:equal(tr["embeddings"]))
  for i = 1, 5 do t.ok(states[i + 1]:equal(tr["layers." .. i - 1]), i) end
  t.ok(states[7]:equal(tr["norm"]))
  t.equal(tostring(states[1].shape), "[token=8, hidden=256]")
end)

t.test("a padded pair is answered padded the same way, hidden states and traces too", function()
  local view = pl.batch(rows):padded { side = "left", to = 6 }
  local out = m:forward(view, { rows = "all", outputs = { "logits", "hidden_states" } })
  t.equal({ tostring(out.logits.shape), tostring(out.hidden_states[2].shape) }, { "[batch=3, seq=6, vocab=2048]", "[batch=3, seq=6, hidden=256]" })
  t.equal(tostring(m:forward(view).logits.shape), "[batch=3, vocab=2048]")
  local tr = m:trace(view, { "layers.0.mlp", "layers.0.attention.weights", "layers.0.attention.query" })
  t.equal(tostring(tr["layers.0.mlp"].shape), "[batch=3, seq=6, hidden=256]")
  t.equal(tostring(tr["layers.0.attention.weights"].shape), "[batch=3, head=8, query=6, key=6]")
  t.equal(tr["layers.0.attention.query"].shape.batch, 3)
  t.equal(tr["layers.0.attention.weights"]:at({ batch = -1, head = -1, query = -1, key = -1 }):item(), 1)
end)

t.test("trace: each() in order, patterns, strangers", function()
  local tr = m:trace("Once upon a time", "layers.*.attention")
  local order = {}
  for path, tensor in tr:each() do order[#order + 1] = path t.ok(tensor.dtype) end
  t.equal(order, { "layers.0.attention", "layers.1.attention", "layers.2.attention", "layers.3.attention", "layers.4.attention", "layers.5.attention" })
  for _, part in ipairs { "weights", "query", "key", "value" } do
    local one = m:trace(rows, { "layers.0.attention." .. part })["layers.0.attention." .. part]
    t.ok(one.rank == 3 and one.shape.token == 8, part)
  end
  t.equal(m:trace(rows, { "logits" })["logits"].shape.vocab, 2048)
  t.raises_table(function() m:trace(rows, { "layer.3.attention" }) end, "layer.3.attention", "layers.3.attention")
  t.raises_table(function() m:trace(rows, { "layers.*.atention" }) end, "layers.*.atention")
  t.raises_table(function() m:trace(rows, 7) end, "trace")
  t.raises_table(function() m:trace(rows) end, "trace")
  t.raises_table(function() m:trace(rows, { "norm" }, { row = "all" }) end, "row")
  t.raises_table(function() return tr["layers.0.attentio"], 1 end, "layers.0.attention")
  t.raises_table(function() return tr[1], 1 end, "1")
  t.ok(tostring(tr):find("layers.5.attention", 1, true))
end)

t.test("hooks: in order, by name, gone when removed, on the call they break", function()
  local order = {}
  local first = m:hook("layers.1", function(x) order[#order + 1] = "first" return x * 1 end)
  local second = m:hook("layers.1", function() order[#order + 1] = "second" end)
  local plain = m:forward(rows).logits
  t.equal(order, { "first", "second" })
  first:remove()
  first:remove()
  m:forward(rows)
  t.equal(#order, 3)
  second:remove()
  for _, bad in ipairs { 7, "x", {}, true, pl.ones { 3 } } do
    local h = m:hook("layers.1", function() return bad end)
    t.raises_table(function() m:forward(rows) end)
    h:remove()
  end
  local wrong = m:hook("layers.1", function() error { code = "mine", message = "a table of mine" } end)
  local raised = t.raises(function() m:forward(rows) end, "")
  t.equal(raised.code, "mine")
  wrong:remove()
  t.raises_table(function() m:hook("layers.1") end, "function")
  t.raises_table(function() m:hook(7, print) end, "7")
  t.ok(m:forward(rows).logits:equal(plain))
end)

t.test("caches: counts, forks, crops, files", function()
  local ids = { 1, 670, 1352, 2012, 1158 }
  local whole = m:forward({ ids }).logits
  local c = m:cache()
  t.equal({ c.length, type(c:bytes()) }, { 0, "number" })
  m:forward({ { 1, 670, 1352 } }, { cache = c })
  local path = os.tmpname()
  c:save(path)
  local loaded = pl.cache_load(path, m)
  t.equal({ loaded.length, c.length }, { 3, 3 })
  t.ok(m:forward({ { 2012, 1158 } }, { cache = loaded }).logits:equal(whole))
  t.ok(m:forward({ { 2012, 1158 } }, { cache = c }).logits:equal(whole))
  t.raises_table(function() pl.cache_load(path, pl.load(t.golden "llama-gqa", { compute = "f32" })) end, "another model")
  t.raises_table(function() pl.cache_load(path) end, "cache_load")
  t.raises_table(function() pl.cache_load("/no/such/file", m) end, "/no/such/file")
  os.remove(path)
  for _, n in ipairs { -1, 1.5, nan, "3" } do t.raises_table(function() c:crop(n) end, "crop") end
  t.raises_table(function() c:crop() end, "crop")
  t.equal(c:crop(100).length, 5)
  t.equal(c:crop(0).length, 0)
  t.ok(m:forward({ ids }, { cache = c }).logits:equal(whole))
  local two = m:cache { rows = 2 }
  t.equal(m:forward({ { 1, 5 }, { 1 } }, { cache = two }).logits.shape.batch, 2)
  t.equal(two.lengths, { 2, 1 })
  t.equal(two.length, 2)
  t.raises_table(function() m:forward({ 1 }, { cache = two }) end, "2", "1")
  for _, count in ipairs { 0, -1, 1.5, "2" } do t.raises_table(function() m:cache { rows = count } end, "rows") end
  t.raises_table(function() return two.lenth, 1 end, "length")
  t.raises_table(function() pl.load(t.golden "bert-base"):cache() end, "cache")
  local failed = m:cache()
  t.raises(function() m:forward({ 1, 5000 }, { cache = failed }) end)
  t.equal(failed.length, 0)
end)

t.test("score and embed: one in, one out", function()
  local one, list = m:score "Once upon a time", m:score { "Once upon a time", "The end" }
  t.equal({ type(one.logprob), type(one.perplexity), #one.token_logprobs }, { "number", "number", #m.tokenizer:ids "Once upon a time" - 1 })
  t.equal({ #list, list[1].logprob }, { 2, one.logprob })
  t.equal(m:score({}), {})
  t.equal(m:score({ 1, 722, 723 }).token_logprobs, m:score({ { 1, 722, 723 } })[1].token_logprobs)
  t.raises_table(function() m:score("x", { top = -1 }) end, "top")
  t.raises_table(function() m:score() end, "score")
  local vectors = m:embed { "Once upon a time", "The" }
  t.equal(tostring(vectors.shape), "[batch=2, hidden=256]")
  t.equal(tostring(m:embed("The").shape), "[hidden=256]")
  t.equal(tostring(m:embed({ "The" }).shape), "[batch=1, hidden=256]")
  t.raises_table(function() m:embed("x", { poling = "mean" }) end, "pooling")
end)

t.test("eager: everything works on it, and it closes with its model", function()
  local other = pl.load(tales, { compute = "f32" })
  local eager = other:eager()
  t.equal({ eager.family, eager:eager().family, eager.vocab_size }, { "llama", "llama", 2048 })
  t.equal(eager:generate("The", { max_new_tokens = 3, do_sample = false }).ids, m:generate("The", { max_new_tokens = 3, do_sample = false }).ids)
  t.ok(eager:trace(rows, { "layers.0" })["layers.0"]:equal(m:trace(rows, { "layers.0" })["layers.0"]))
  other:close()
  t.raises_table(function() eager:forward(rows) end, "closed")
end)

t.test("use after close, by every door", function()
  local gone = pl.load(tales, { compute = "f32" })
  local cache, tokenizer, stream, engine = gone:cache(), gone.tokenizer, gone:stream("The", { max_new_tokens = 5 }), pl.engine(gone)
  local line = engine:submit("The", { max_new_tokens = 3 })
  local hook, out = gone:hook("layers.0", function() end), gone:forward(rows)
  gone:close()
  for _, call in ipairs {
    function() gone:score "x" end, function() gone:embed "x" end, function() gone:cache() end, function() gone:hook("layers.0", print) end,
    function() gone:program() end, function() gone:fingerprint() end, function() gone:save "x" end, function() gone:paths() end,
    function() pl.check(gone) end, function() pl.engine(gone) end, function() engine:submit "x" end, function() gone:forward(rows, { cache = cache }) end,
  } do t.raises_table(call, "closed") end
  hook:remove()
  t.equal({ gone.family, gone.path, tostring(gone):find("closed", 1, true) ~= nil }, { "llama", tales, true })
  t.ok(out.logits:sum() == out.logits:sum())            -- answers outlive their model
  t.equal(tokenizer:decode(tokenizer:ids "The end"), "The end")
  collectgarbage()
  for _ in stream do end                                -- what runs may end, or end with an error: never worse
  pcall(engine.drain, engine)
  t.ok(line.state)
  engine:close()
end)

t.test("many models in one process; all of them leave", function()
  collectgarbage()
  collectgarbage()
  local used = core.memory().used
  for i = 1, 5 do
    local one = pl.load(t.golden "llama-gqa", { compute = i % 2 == 0 and "f32" or "bf16" })
    one:forward { { 1, 5 } }
    one:generate({ 1, 5 }, { max_new_tokens = 2, do_sample = false })
    if i > 2 then one:close() end
  end
  collectgarbage()
  collectgarbage()
  t.equal(core.memory().used, used)
end)

t.test("encoder-decoders: decoder rows, rows, outputs", function()
  local t5 = pl.load(t.golden "t5-gated-untied", { compute = "f32" })
  local sources = { { 49, 14, 106, 1 }, { 40, 9, 1 } }
  local out = t5:forward(sources, { decoder = { { 0, 45, 7 }, { 0 } }, rows = "all", outputs = { "logits", "hidden_states", "encoder_last", "encoder_hidden_states" } })
  t.equal({ out.logits.shape.token, out.encoder_last.shape.token, out.hidden_states[1].shape.token }, { 4, 7, 4 })
  t.equal(out.encoder_hidden_states[1].shape.token, 7)
  t.ok(out.encoder_hidden_states[#out.encoder_hidden_states]:equal(out.encoder_last))
  t.equal(t5:forward(sources[1]).logits.shape.batch, 1)
  t.equal(t5:forward(sources, { decoder = pl.batch { { 0 }, { 0, 5 } } }).logits.shape.batch, 2)
  for _, decoder in ipairs { {}, { {} }, { { 0 }, {} }, "text", { "a" }, { 0, -1 }, { 0, 1e6 }, { 1.5 } } do
    t.raises_table(function() t5:forward(sources, { decoder = decoder }) end)
  end
  t.raises_table(function() t5:forward(sources, { outputs = { "encoder_first" } }) end, "encoder_first")
  t.raises_table(function() m:forward(rows, { outputs = { "encoder_last" } }) end, "encoder_last")
end)
