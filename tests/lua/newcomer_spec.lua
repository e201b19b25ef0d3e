-- Twelve scripts as somebody new writes them after the README, docs/guide and `perilune help`. Each runs to its end, and
-- what it prints is words; where a habit of other libraries leads astray, the error says what to write instead.
local pl = require "perilune"
local t = require "spec"

local scripts = {
  { "classification of a file's lines", [[
    local path = os.tmpname()
    local f = io.open(path, "w")
    f:write("A wonderful book.\nI hated every page of it.\n\n" .. ("long "):rep(400) .. "\n")
    f:close()
    local clf = pl.pipeline("sentiment-analysis", "scripts/models/reviews")
    for text, r, err in clf:each(io.lines(path)) do print(#text, r or err) end
    os.remove(path)
    print(clf "A wonderful book.")
    print(clf({ "Good.", "Bad." }))
  ]], "25%s+{ label = ", "2000%s+text%-classification: the input has 1202 tokens.*stride=n", 'label = "NEGATIVE"' },
  { "search by embeddings", [[
    local m = pl.load "scripts/models/reviews"
    local docs = { "A fox in the forest", "The price of bread", "A wolf in the woods" }
    local vectors, q = m:embed(docs, { normalize = true }), m:embed("A fox in the woods", { normalize = true })
    print(vectors.shape, q.shape)
    local scores = vectors:matmul(q, { over = "hidden" })
    print(docs[scores:argmax("batch"):item()], scores)
    print(scores:topk(2, "batch"))
  ]], "batch=3, hidden=128.*hidden=128", "A wolf in the woods", "Tensor f32%[batch=2%]" },
  { "a chat", [[
    local m = pl.load "scripts/models/tales"
    local ask = { { role = "user", content = "Tell me about a fox" } }
    local fine, err = pcall(m.generate, m, { messages = ask })
    print(fine, err)
    print(m:generate({ messages = ask, template = "{% for x in messages %}{{ x.content }}{% endfor %}" }, { max_new_tokens = 4 }))
  ]], "false%s+chat: .*no chat template.*template=", 'finish_reason = "length"' },
  { "a stream", [[
    local m = pl.load "scripts/models/tales"
    local stream = m:stream("Once upon a time", { max_new_tokens = 6, do_sample = false })
    for piece, event in stream do print(piece, event) end
    print(stream, stream:result())
    print(pcall(m.stream, m, "Once", { temperature = 0 }))
    print(pcall(m.stream, m, "Once", { max_length_tokens = 3 }))
  ]], 'brave%s+{.*kind = "token"', "Stream %(length%)%s+{", "temperature: expected.*do_sample = false", "unknown option" },
  { "a policy", [[
    local m = pl.load "scripts/models/tales"
    local engine = pl.engine(m, { policy = function(queue, room)
      if room.step == 0 then print(queue[1], room) end
      return queue
    end })
    local a, b = engine:submit("Once upon", { max_new_tokens = 2 }), engine:submit("The fox", { max_new_tokens = 2 })
    print(engine:step())
    engine:drain()
    for request, event in engine:events() do print(request, event) end
    print(a, a:result(), engine:stats(), engine)
    local lazy = pl.engine(m, { policy = function() return {} end })
    lazy:submit("Once", { max_new_tokens = 2 })
    print(pcall(lazy.drain, lazy))
  ]], "prompt_tokens = 3", "page_tokens = ", "rows = 2", 'Request 1 %(done%)%s+{.*kind = "done"', "finished = 2", "never runs request 1" },
  { "reading logits", [[
    local m = pl.load "scripts/models/tales"
    local out = m:forward "Once upon a"
    print(out)
    local best = out.logits:argmax "vocab"
    print(best, m.tokenizer:decode { best:item() })
    print(out.logits:softmax("vocab"):topk(3, "vocab"))
    print(pcall(function() return #out.logits end))
    print(pcall(function() return out.logits[1] end))
    print(pcall(function() return out.logit end), out.loss)
  ]], "logits = Tensor f32", "501.*time", "vocab=3", "# and ipairs do not work on it", "false%s+%S+: .*at{" },
  { "masks", [[
    local m = pl.load "scripts/models/tales"
    local batch = m.tokenizer:encode { "Once", "Once upon a time" }
    local p = batch:padded()
    print(batch, p, p.mask)
    local out = m:forward { ids = p.ids, mask = p.mask }
    print(out.logits:equal(m:forward(batch).logits))
    print(pcall(m.forward, m, { ids = p.ids, attention_mask = p.mask }))
    print(pcall(m.forward, m, { ids = p.ids }))
  ]], "Batch of 2 rows", "waste = 0.3", "true", 'did you mean "mask"', "mask" },
  { "padding", [[
    local tok = pl.tokenizer "scripts/models/tales"
    print(tok)
    print(tok:encode({ "Once", "Once upon a time" }):padded { side = "right", multiple_of = 8 }.ids)
    print(pcall(tok.encode, tok, "x", { padding = true, return_tensors = "pt" }))
    print(pcall(function() return tok:encode("x"):padded { max_length = 4 } end))
    print(pcall(pl.tensor, { { 1, 2 }, { 3 } }))
  ]], "seq=8", "false%s+encode: .*padded", "false%s+padded: .*to", "row" },
  { "a family of one's own", [[
    local folder = os.tmpname()
    os.remove(folder)
    pl.files.make_folder(folder)
    local function axes(...) return { axes = { ... }, seed = 1 } end
    pl.save(folder .. "/model.safetensors", { ["embed.weight"] = pl.random({ 9, 4 }, axes("vocab", "hidden")),
      ["out.weight"] = pl.random({ 9, 4 }, axes("vocab", "hidden")) })
    local f = io.open(folder .. "/config.json", "w")
    f:write '{ "model_type": "mine", "architectures": ["MineModel"], "width": 4 }'
    f:close()
    local given
    local mine = { name = "mine", model_types = { "mine" }, architectures = { MineModel = "causal" }, keys = { "width" }, embedding = "embed",
      config = function(json) return { layers = 0, axes = { hidden = json.width, vocab = given } } end,
      decode = function(net, batch) return net:embedding(batch.ids, "embed") end,
      heads = { causal = function(net, x) return net:head(x, "out", "vocab", { tied = nil }) end } }
    pl.family(mine)
    print(pcall(pl.load, folder))
    given = 9
    print(pl.load(folder):forward { { 1, 2 } }.logits)
    mine.heads.causal = function(net, x) return net:head(x, "lm_head", "vocab") end
    pl.family(mine)
    print(pcall(pl.load, folder))
    pl.files.remove(folder, { all = true })
  ]], "false%s+head: axis \"vocab\" has no size.*axes = { vocab", "Tensor f32%[batch=1, vocab=9%]", "false%s+load: .*lm_head" },
  { "fewer bits", [[
    local m = pl.load "scripts/models/tales"
    local small = m:quantize "int4"
    print(small.quantization, small:memory().weights < m:memory().weights, small:memory())
    print(pcall(pl.load, "scripts/models/tales", { load_in_4bit = true }))
    print(pcall(m.quantize, m, "int3"))
  ]], "type = \"int4\" }%s+true%s+{", "load_in_4bit.*quantize", "false%s+quantize: .*int" },
  { "a cache", [[
    local m = pl.load "scripts/models/tales"
    local cache, path = m:cache(), os.tmpname()
    local r = m:generate("Once upon a time", { cache = cache, max_new_tokens = 4, do_sample = false })
    local more = m:generate(" and then", { cache = cache, max_new_tokens = 4, do_sample = false })
    print(more.reused_tokens > 0, cache)
    cache:save(path)
    print(pl.cache_load(path, m).length == cache.length)
    os.remove(path)
    print(pcall(m.generate, m, "x", { past_key_values = cache }))
  ]], "true%s+Cache 1 rows", "true", "past_key_values.*cache" },
  { "errors", [[
    print(pl.try(pl.load, "no/such"))
    local m = pl.load "scripts/models/tales"
    local r, err = pl.try(m.generate, m, "Once", { max_tokens = 3 })
    print(r, err.code, err.hint)
    print(pl.try(m.forward, m, pl.tokenizer "scripts/models/reviews":encode "x"))
    local x = pl.ones({ 2, 3 }, { axes = { "a", "b" } })
    print(pl.try(function() return x + pl.ones({ 4 }, { axes = { "b" } }) end))
    print(pl.try(function() return x:sum "c" end))
    print(pl.try(m.generate, m, 5))
    print(m:generate({ "Once", ("x "):rep(900) }, { max_new_tokens = 1 }))
    print(pl.try(function() return pl.cosine end))
  ]], "nil%s+load: no/such is not there", "option%s+did you mean \"max_new_tokens\"", "another tokenizer", "3 vs 4", 'no axis "c"',
    "expected a text", 'error = "generate: the prompt has', "no pl.cosine.*normalized vectors" },
}

-- What a script prints, as the program's print has it.
local function printed(text)
  local lines = {}
  local function print(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    lines[#lines + 1] = table.concat(words, "\t")
  end
  local script = assert(loadstring(text, "@newcomer.lua"))
  setfenv(script, setmetatable({ print = print, pl = pl }, { __index = _G }))
  local fine, err = pcall(script)
  return table.concat(lines, "\n"), not fine and tostring(err) or nil
end

pl.on_warning(nil)
for _, case in ipairs(scripts) do
  t.test(case[1], function()
    local text, err = printed(case[2])
    t.equal(err, nil, text)
    t.ok(not text:find "table: 0x" and not text:find "userdata: 0x", text)
    for i = 3, #case do
      local last = text:find(case[i])
      t.ok(last, ("%q is not in:\n%s"):format(case[i], text))
    end
  end)
end
