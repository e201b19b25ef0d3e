-- What calls answer prints in words: no "table: 0x…" for a result, a score, an answer of a pipeline, an entry of the queue.
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local reviews = pl.load("scripts/models/reviews", { compute = "f32" })
local greedy = { max_new_tokens = 3, do_sample = false }
local batch = m.tokenizer:encode { "Once", "upon a" }


-- What is printed → words that stand in it.
local cases = {
  { "result", function() return m:generate("Once", greedy) end, "finish_reason = \"length\"", "text = " },
  { "list of results", function() return m:generate({ "Once", "The" }, greedy) end, "finish_reason" },
  { "no results", function() return m:generate {} end, "{}" },
  { "result that failed", function() return m:generate({ ("x"):rep(9000), "a" }, greedy)[1] end, "error = ", "positions" },
  { "ids of a result", function() return m:generate("Once", greedy).ids end, "{ " },
  { "timings", function() return m:generate("Once", greedy).timings end, "tokens_per_s = " },
  { "sequences", function() return m:generate("Once", { n = 2, seed = 1, max_new_tokens = 2 }).sequences end, "score = " },
  { "forward", function() return m:forward "Once" end, "logits = Tensor f32[batch=1, vocab=2048]" },
  { "score", function() return m:score "Once upon" end, "perplexity = " },
  { "choices", function() return m:score("Once", { " a", " b" }) end, "perplexity" },
  { "request", function() return pl.engine(m):submit("Once", greedy) end, "Request 1 (waiting)" },
  { "event", function()
    local e = pl.engine(m)
    local line = e:submit("Once", greedy)
    e:drain()
    return line:events()()
  end, "kind = \"token\"" },
  { "step", function()
    local e = pl.engine(m)
    e:submit("Once", greedy)
    return e:step()
  end, "tokens = ", "idle = false" },
  { "stats", function() return pl.engine(m):stats() end, "finished = 0" },
  { "classification", function() return pl.pipeline("text-classification", reviews)("A great place.") end, 'label = "POSITIVE"' },
  { "classifications", function() return pl.pipeline("text-classification", reviews, { top_k = 2 }) { "A great place.", "Bad." } end, "POSITIVE" },
  { "pipeline", function() return pl.pipeline("text-classification", reviews) end, "Pipeline text-classification, Model" },
  { "tokens", function() return m.tokenizer:tokens "Once" end, "piece = " },
  { "row", function() return batch:row(1) end, "length = " },
  { "padded", function() return batch:padded {} end, "waste = ", "mask = " },
  { "memory", function() return m:memory() end, "weights = " },
  { "estimate", function() return pl.estimate "scripts/models/tales" end, "fits = " },
  { "check", function() return pl.check(m) end, "ok = true" },
  { "devices", function() return pl.devices() end, "cpu" },
  { "health", function() return pl.health() end, "ok = true" },
  { "lengths", function() return pl.lengths({ "a", "b c" }, m.tokenizer) end, "p50 = " },
  { "simulated", function() return pl.simulate(pl.policy.fifo(), { 3, 4 }, { ms_per_step = 1, ms_per_token = 1 }) end, "steps = " },
  { "statistics", function() return pl.ones({ 2 }, { axes = { "n" } }):stats() end, "max = 1" },
  { "tensor", function() return pl.tensor({ { 1, 2 }, { 3, 4 } }, { axes = { "batch", "hidden" } }) end,
    "f32[batch=2, hidden=2]", "batch=1  [1, 2]" },
  { "batch", function() return batch end, "Once" },
  { "cache", function() return m:cache() end, "Cache 1 rows" },
  { "hook", function() return m:hook("norm", function() end) end, "Hook norm" },
  { "stream", function() return m:stream("Once", greedy) end, "Stream (running)" },
  { "configuration", function() return m.config end, "hidden_size = 256" },
  { "labels", function() return reviews.labels end, "POSITIVE" },
  { "warnings", function() return m.warnings end, "{}" },
  { "recipe", function() return m:quantize({ ["layers.*"] = "int8" }).quantization end, "int8" },
  { "model", function() return m end, "Model llama" },
}

for _, case in ipairs(cases) do
  t.test(("a %s prints in words"):format(case[1]), function()
    local text = tostring(case[2]())
    t.ok(not text:find "^table: " and not text:find "^userdata: ", text)
    for i = 3, #case do t.ok(text:find(case[i], 1, true), ("%q is not in:\n%s"):format(case[i], text)) end
  end)
end

t.test("an entry of the queue and the room print in a policy", function()
  local seen = {}
  local e = pl.engine(m, { policy = function(queue, room)
    seen = { tostring(queue[1]), tostring(room) }
    return queue
  end })
  e:submit("Once", greedy)
  e:step()
  t.ok(seen[1]:find("prompt_tokens = 2", 1, true), seen[1])
  t.ok(seen[2]:find("page_tokens = ", 1, true), seen[2])
end)

t.test("an expanded tensor of 10^12 elements prints at once: what an axis repeats is looked at once and counts as often", function()
  local all = pl.tensor({ { { 2 } }, { { 0 / 0 } } }, { axes = { "a", "b", "c" } }):expand { b = 1e6, c = 1e6 }
  local stats = all:stats()
  t.equal({ stats.count, stats.nan, stats.mean, stats.min, stats.max }, { 2e12, 1e12, 2, 2, 2 })
  t.ok(tostring(all):find("nan 1000000000000", 1, true), tostring(all))
end)

t.test("printing in words leaves the tables as they are", function()
  local r = m:generate("Once", greedy)
  t.equal(pl.json.decode(pl.json.encode(r.ids)), r.ids)
  t.ok(pl.json.encode(r):find '"finish_reason": "length"')
  t.equal(pl.show(r, { depth = 2 }), tostring(r))
  local names = {}
  for name in pairs(r) do names[name] = true end
  t.ok(names.text and names.ids and names.timings)
  t.equal(#m:generate({ ids = r.ids }, greedy).ids, 3, "ids of a result are ids")
  t.equal(" " .. m.tokenizer:decode(r.ids), r.text)
  r.mine = 1
  t.ok(tostring(r):find("mine = 1", 1, true))
end)
