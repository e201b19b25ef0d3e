-- A model as scripts see it: fields, forward, rows, trace, eager, hooks, caches, close.
local pl = require "perilune"
local t = require "spec"

local tales = "scripts/models/tales"
local m = pl.load(tales, { compute = "f32" })
local rows = { { 1, 722, 723, 261 }, { 1, 670, 1352, 2012, 1158, 2012, 402, 263, 1430, 2045 }, { 1, 501 } }

t.test("fields of a model", function()
  t.equal(m.family, "llama")
  t.equal(m.head, "causal")
  t.equal(m.device, "cpu")
  t.equal(m.compute, "f32")
  t.equal(m.max_tokens, 512)
  t.equal(m.vocab_size, 2048)
  t.equal(m.config.hidden_size, 256)
  t.equal(m.tokenizer.kind, "sentencepiece")
  t.equal(m.labels, nil)
  t.equal(#m.warnings, 0)
  t.ok(tostring(m):find("llama", 1, true))
  t.raises_text(function() return m.vocab_siz end, "vocab_siz", "vocab_size")
  t.raises_text(function() return m:genrate "x" end, "genrate", "generate")
  t.raises_text(function() return pl.laod end, "laod", "load")
end)

t.test("compute auto: the checkpoint's own type where the device is fast at it", function()
  local auto = pl.load(tales)
  t.equal(auto.compute, pl.devices()[1].fast_bf16 and "bf16" or "f32")
  t.raises_text(function() pl.load(tales, { compute = "f31" }) end, "f31", "f32")
  t.raises_text(function() pl.load(tales, { device = "abacus" }) end, "abacus")
  t.raises_text(function() pl.load(tales, { devise = "cpu" }) end, "devise", "device")
  t.raises_text(function() pl.load "no/such/folder" end, "no/such/folder", "config.json")
  t.raises_text(function() pl.load(tales, { head = "sequence" }) end, "sequence", "causal")
end)

t.test("bf16 stays close to f32", function()
  local half = pl.load(tales, { compute = "bf16" })
  local a = m:forward(rows, { rows = "last" }).logits
  local b = half:forward(rows, { rows = "last" }).logits
  for i = 1, 3 do
    local x, y = a:at { batch = i }, b:at { batch = i }
    t.ok((x - y):abs():max() <= 3e-2 * (x:max() - x:min()))
  end
end)

t.test("kinds of input give the same answer", function()
  local text = "Once upon a time"
  local ids = m.tokenizer:ids(text)
  local from_text = m:forward(text).logits
  t.ok(from_text:equal(m:forward(ids).logits))
  t.ok(from_text:equal(m:forward({ ids }).logits))
  t.ok(from_text:equal(m:forward({ text }).logits))
  t.ok(from_text:equal(m:forward(pl.batch { ids }).logits))
  t.ok(from_text:equal(m:forward({ text, ids }).logits:at { batch = { 1, 1 } }))
  t.raises_text(function() m:forward {} end, "no rows")
  t.raises_text(function() m:forward(7) end, "number")
  t.raises_text(function() m:forward { { 1, "x" } } end, "row 1", "position 2")
end)

t.test("rows: last, all, listed", function()
  local all = m:forward(rows, { rows = "all" })
  t.equal(all.logits.shape.token, 16)
  local parts = all.batch:split(all.logits)
  local last = m:forward(rows).logits
  t.equal(last.shape.batch, 3)
  for i = 1, 3 do t.ok(last:at { batch = i }:equal(parts[i]:at { token = -1 })) end
  local listed = m:forward(rows, { rows = { { 1, 3 }, {}, { -1 } } }).logits
  t.equal(listed.shape.token, 3)
  t.ok(listed:at { token = 2 }:equal(parts[1]:at { token = 3 }))
  t.ok(listed:at { token = 3 }:equal(parts[3]:at { token = 2 }))
  t.raises_text(function() m:forward(rows, { rows = "some" }) end, "some", "last")
  t.raises_text(function() m:forward(rows, { rows = { { 1 } } }) end, "1", "3")
end)

t.test("outputs are what was asked for", function()
  local out = m:forward(rows, { outputs = { "hidden_states" } })
  t.equal(out.logits, nil)
  t.equal(#out.hidden_states, 7)
  t.raises_text(function() m:forward(rows, { outputs = { "logit" } }) end, "logit", "logits")
  t.raises_text(function() m:forward(rows, { outputs = { "pooled" } }) end, "pooled", "causal")
end)

t.test("a padded input is answered in its layout", function()
  local batch = pl.batch(rows)
  local ragged = m:forward(batch, { rows = "all" }).logits
  for _, side in ipairs { "left", "right" } do
    local view = batch:padded { side = side }
    local logits = m:forward({ ids = view.ids, mask = view.mask }, { rows = "all" }).logits
    t.equal(logits.shape.batch, 3)
    t.equal(logits.shape.seq, 10)
    local own = side == "left" and { 7, 10 } or { 1, 4 }
    t.ok(batch:split(ragged)[1]:equal(logits:at { batch = 1, seq = own }:rename { seq = "token" }))
    local other = side == "left" and { 1, 6 } or { 5, 10 }
    t.equal(logits:at { batch = 1, seq = other }:abs():max(), 0)
  end
end)

t.test("trace: paths, order, patterns", function()
  local tr = m:trace(rows, { "norm", "layers.*.mlp", "embeddings" })
  local seen = {}
  for path, tensor in tr:each() do
    seen[#seen + 1] = path
    t.equal(tensor.shape.hidden, 256)
  end
  t.equal(#seen, 8)
  t.equal(seen[1], "embeddings")
  t.equal(seen[8], "norm")
  t.ok(tr["layers.3.mlp"].shape.token == 16)
  t.raises_text(function() return tr["layers.3.attention"] end, "layers.3.attention", "not traced")
  t.raises_text(function() m:trace(rows, { "layers.3.attentoin" }) end, "layers.3.attentoin", "layers.3.attention")
  t.raises_text(function() m:trace(rows, { "layers.6" }) end, "layers.6")
  t.raises_text(function() m:trace(rows, {}) end, "list of paths")
end)

t.test("trace: layers add up", function()
  local tr = m:trace(rows, { "layers.2", "layers.3", "layers.3.attention", "layers.3.mlp" })
  local sum = tr["layers.2"] + tr["layers.3.attention"] + tr["layers.3.mlp"]
  t.ok(sum:close(tr["layers.3"], 1e-4))
end)

t.test("trace: attention weights, ragged and padded", function()
  local path = "layers.3.attention.weights"
  local ragged = m:trace(rows, { path })[path]
  t.equal(ragged.shape.token, 16)
  t.equal(ragged.shape.head, 8)
  t.equal(ragged.shape.key, 10)
  t.near(ragged:sum("key"):at { token = 9, head = 2 }:item(), 1, 1e-5)
  t.equal(ragged:at { token = 2, head = 1, key = { 3, 10 } }:abs():max(), 0)   -- causal, and zero beyond a row
  local batch = pl.batch(rows)
  for _, side in ipairs { "left", "right" } do
    local w = m:trace(batch:padded { side = side }, { path })[path]
    t.equal({ w.shape.batch, w.shape.head, w.shape.query, w.shape.key }, { 3, 8, 10, 10 })
    local query = side == "left" and 7 or 1
    t.near(w:at { batch = 1, head = 5, query = query, key = query }:item(), 1, 1e-6)
    t.near(w:at { batch = 1, head = 5, query = query + 3 }:sum(), 1, 1e-5)
    local pad = side == "left" and 1 or 10
    t.equal(w:at { batch = 1, query = pad }:abs():max(), 0)
    t.equal(w:at { batch = 1, key = pad }:abs():max(), 0)
    t.near(w:at { batch = 2, head = 3, query = 10, key = 4 }:item(), ragged:at { token = 14, head = 3, key = 4 }:item(), 0)
  end
end)

t.test("tracing changes no bit", function()
  local plain = m:forward(rows).logits
  local traced = m:trace(rows, { "logits", "layers.*.attention.weights", "layers.*" })
  t.ok(traced["logits"]:equal(plain))
end)

t.test("eager: the same bits, and hooks that see and change", function()
  local plain = m:forward(rows).logits
  t.ok(m:eager():forward(rows).logits:equal(plain))
  local seen = 0
  local watch = m:hook("layers.2.mlp", function(x)
    seen = seen + 1
    t.equal(x.shape.hidden, 256)
  end)
  t.ok(m:forward(rows).logits:equal(plain))
  t.equal(seen, 1)
  watch:remove()
  local silence = m:hook("layers.2.mlp", function(x) return x * 0 end)
  t.ok(not m:forward(rows).logits:equal(plain))
  silence:remove()
  t.ok(m:forward(rows).logits:equal(plain))
  t.raises_text(function() m:hook("layers.2.mpl", print) end, "layers.2.mpl", "layers.2.mlp")
  local broken = m:hook("layers.1", function() error "no" end)
  t.raises_text(function() m:forward(rows) end, "no")
  broken:remove()
  t.ok(m:forward(rows).logits:equal(plain))
end)

t.test("cache: chunks and forks, the same bits as at once", function()
  local ids = rows[2]
  local whole = m:forward({ ids }).logits
  local c = m:cache()
  t.equal(c.length, 0)
  m:forward({ { ids[1], ids[2], ids[3] } }, { cache = c })
  t.equal(c.length, 3)
  local branch = c:fork()
  m:forward({ { 5, 6 } }, { cache = branch })
  t.equal(branch.length, 5)
  local rest = {}
  for i = 4, #ids do rest[#rest + 1] = ids[i] end
  t.ok(m:forward({ rest }, { cache = c }).logits:equal(whole))
  c:crop(3)
  t.ok(m:forward({ rest }, { cache = c }).logits:equal(whole))
  t.ok(c:bytes() > 0)
  t.raises_text(function() m:forward(rows, { cache = c }) end, "1", "3")
end)

t.test("padded views go to the family's side", function()
  local function first_mask(batch) return batch:padded().mask:at { batch = 1, seq = 1 }:item() end
  local texts = { "The", "Once upon a time" }
  t.equal(first_mask(m.tokenizer:encode(texts)), 0)                  -- a decoder: left
  t.equal(first_mask(m:forward(texts).batch), 0)
  t.equal(first_mask(pl.batch { { 1 }, { 1, 2 } }), 1)               -- no family: right
  t.equal(m.tokenizer:encode(texts):padded({ side = "right" }).mask:at { batch = 1, seq = 1 }:item(), 1)
  t.equal(first_mask(m.tokenizer:encode(texts):select { 1, 2 }), 0)
end)

t.test("embed: pooled hidden states", function()
  local bert = pl.load(t.golden "bert-base", { compute = "f32" })
  local two = { { 2, 181, 43, 3 }, { 2, 37, 71, 77, 17, 3 } }
  local hidden = bert:forward(two)
  t.ok(bert:embed(two):equal(hidden.batch:mean(hidden.last_hidden_state)))
  t.ok(bert:embed(two, { pooling = "pooled" }):equal(hidden.pooled))
  t.ok(bert:embed({ two[2] }):at { batch = 1 }:equal(bert:embed(two):at { batch = 2 }))
  t.near(bert:embed(two, { normalize = true }):norm("hidden"):tolist(), { 1, 1 }, 1e-5)
  local last = hidden.batch:split(hidden.last_hidden_state)[2]
  t.ok(bert:embed(two, { pooling = "max" }):at { batch = 2 }:equal(last:max "token"))
  t.ok(bert:embed(two, { pooling = "cls" }):equal(hidden.batch:first(hidden.last_hidden_state)))
  t.raises_text(function() bert:embed(two, { pooling = "most" }) end, "most", "max")
end)

t.test("limits name both numbers", function()
  local long = {}
  for i = 1, 513 do long[i] = 5 end
  t.raises_text(function() m:forward { long } end, "513", "512", "truncate")
  t.raises_text(function() m:forward { { 1, 5, 2048 } } end, "row 1", "position 3", "2048")
end)

t.test("what a model says of itself", function()
  local memory = m:memory()
  t.ok(memory.weights > 1e6)
  t.ok(memory.cache_per_token > 0)
  t.ok(memory.workspace > 0)
  t.ok(m:bytes_per_token() > 1e6)
  t.ok(#m:paths() > 20)
  t.ok(#tostring(m:program()) > 500)
  t.ok(tostring(m:shapes()):find("layers.*.self_attn.q_proj", 1, true))
  t.raises_text(function() m:program "encode" end, "encode", "decode")
  local estimate = pl.estimate(tales)
  t.ok(estimate.weights > 1e6 and estimate.cache_per_token > 0)
end)

t.test("pl.check: model and tokenizer", function()
  local verdict = pl.check(m, m.tokenizer, { probe = true })
  t.ok(verdict.ok)
  t.equal(#verdict.errors, 0)
  t.equal(#verdict.warnings, 0)
end)

t.test("a model without a tokenizer takes ids and says why not text", function()
  local bare = pl.load(tales, { tokenizer = false })
  t.equal(bare.tokenizer, nil)
  t.ok(bare:forward({ rows[1] }).logits)
  t.raises_text(function() bare:forward "text" end, "tokenizer", "ids")
end)

t.test("labels of a classifier", function()
  local reviews = pl.load("scripts/models/reviews", { compute = "f32" })
  t.equal(reviews:label(1), "POSITIVE")
  t.equal(reviews.labels[0], "NEGATIVE")
  t.raises_text(function() reviews:label(2) end, "2")
  local out = reviews:forward { { 2, 17, 166, 67, 168, 61, 470, 398, 5, 3 } }
  t.equal(out.logits.shape.class, 2)
  t.raises_text(function() m:label(0) end, "no labels")
  t.raises_text(function() reviews:generate { 2, 17 } end, "sequence", "next token")
end)

t.test("an encoder-decoder: start token, one row for all, wrong counts", function()
  local t5 = pl.load(t.golden "t5-relu-tied", { compute = "f32" })
  local sources = { { 49, 14, 106, 1 }, { 40, 9, 1 } }
  local out = t5:forward(sources)
  t.equal(out.logits.shape.batch, 2)
  t.equal(out.encoder_last.shape.token, 7)
  local shared, apart = t5:forward(sources, { decoder = { 0, 45 } }), t5:forward(sources, { decoder = { { 0, 45 }, { 0, 45 } } })
  t.ok(shared.logits:equal(apart.logits))
  local alone = t5:forward({ sources[2] }, { decoder = { 0, 45 } })
  t.ok(alone.logits:at { batch = 1 }:equal(shared.logits:at { batch = 2 }))
  t.raises_text(function() t5:forward(sources, { decoder = { { 0 } } }) end, "1", "2")
  local tr = t5:trace(sources, { "encoder.layers.0.attention.weights", "decoder.layers.1.cross_attention", "encoder.norm" })
  t.equal(tr["encoder.norm"].shape.token, 7)
  t.equal(tr["decoder.layers.1.cross_attention"].shape.token, 2)
end)

t.test("after close", function()
  local gone = pl.load(tales)
  gone:close()
  gone:close()
  for _, call in ipairs {
    function() gone:forward { { 1 } } end, function() gone:generate "x" end, function() gone:trace({ { 1 } }, { "norm" }) end,
    function() gone:eager() end, function() gone:memory() end, function() gone:stream "x" end,
  } do t.raises_text(call, "closed") end
end)

t.test("pl.try, pl.clock, pl.scope", function()
  local value, err = pl.try(function() return 7 end)
  t.equal(value, 7)
  t.equal(err, nil)
  value, err = pl.try(pl.load, "nowhere")
  t.equal(value, nil)
  t.equal(err.code, "file")
  local before = pl.clock()
  t.ok(pl.clock() >= before)
  local inner
  local kept = pl.scope(function()
    inner = pl.zeros({ 4 }, { axes = { "token" } })
    return pl.ones({ 3 }, { axes = { "token" } })
  end)
  t.equal(kept:sum(), 3)
  t.raises(function() return inner:sum() end)
end)

t.test("warnings reach the sink", function()
  local seen = {}
  pl.on_warning(function(text, where) seen[#seen + 1] = text .. " " .. where end)
  pl.load(t.golden "llama-gqa")
  pl.on_warning(nil)
  for _, text in ipairs(seen) do t.equal(type(text), "string") end
end)
