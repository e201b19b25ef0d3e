-- pl.simulate: a policy on lengths alone is the engine's own scheduler: same steps, same padding, same errors.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local timeline = require "perilune.show.timeline"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local formula = { ms_per_step = 1, ms_per_token = 0.1 }

t.test("numbers that can be counted by hand", function()
  local r = pl.simulate(pl.policy.fifo(), { 5, 7, 9 }, formula)
  t.equal({ r.steps, r.tokens, r.positions, r.waste, r.rows, r.ms, r.peak_bytes }, { 1, 21, 21, 0, 3, 3.1, 0 })
  r = pl.simulate(pl.policy.fifo(), { 5, 7, 9 }, formula, { layout = "padded" })
  t.equal({ r.steps, r.tokens, r.positions, r.ms }, { 1, 21, 27, 3.7 })
  t.near(r.waste, 1 - 21 / 27, 1e-12)
  r = pl.simulate(pl.policy.fifo(), { 5, 7, 9 }, formula, { rows = 1 })
  t.equal({ r.steps, r.wait_ms.p50, r.wait_ms.p99 }, { 3, 1.5, 3.2 })
  r = pl.simulate(pl.policy.fifo(), { { prompt = 4, output = 3 } }, formula)   -- the third token is not computed
  t.equal({ r.steps, r.tokens, r.ms, r.first_token_ms.p50, r.requests[1].end_ms, r.requests[1].finish_reason }, { 3, 6, 3.6, 1.4, 3.6, "length" })
  r = pl.simulate(pl.policy.fifo(), {}, formula)
  t.equal({ r.steps, r.tokens, r.waste, r.wait_ms.p50 }, { 0, 0, 0, 0 })
end)

t.test("arrivals, and a policy that waits for a batch", function()
  local asked = {}
  local function together(queue, room)
    asked[#asked + 1] = { room.now_ms, #queue, room.more }
    if #queue < 3 and room.more then return { wait_ms = 50 } end
    return queue
  end
  local work = { { prompt = 2, arrive_ms = 20 }, { prompt = 2 }, { prompt = 2, arrive_ms = 10 } }
  local r = pl.simulate(together, work, formula)
  t.equal({ r.steps, r.timeline[1].at_ms, r.requests[1].wait_ms, r.requests[2].wait_ms, r.requests[3].wait_ms }, { 1, 20, 0, 20, 10 })
  t.equal({ #asked, asked[1][2], asked[1][3], asked[3][2], asked[3][3] }, { 3, 1, true, 3, false })
  t.near(asked[2][1], 10, 1e-6)
  r = pl.simulate(pl.policy.fifo(), { { prompt = 100, arrive_ms = 0 }, { prompt = 1, arrive_ms = 3 } }, formula)
  t.equal({ r.steps, r.requests[2].wait_ms }, { 2, 8 })   -- it came while a step of 11 ms ran
end)

-- The same work in a real engine: every request there from the beginning.
local function real(policy, work, layout)
  local e = pl.engine(m, { policy = policy, max_tokens = 64, max_rows = 8 })
  for i, item in ipairs(work) do
    local ids = {}
    for k = 1, item.prompt do ids[k] = (i * 31 + k * 7) % m.vocab_size end
    e:submit({ ids = ids }, { max_new_tokens = item.output, do_sample = false, eos_token_id = {}, priority = item.priority,
      client = item.client, reuse = false })
  end
  e:drain()
  local stats = e:stats()
  e:close()
  return { steps = stats.steps, tokens = stats.tokens, waste = 1 - stats.tokens / stats.positions, layout = layout }
end

t.test("steps and padding are those of a real run", function()
  local random = 12345
  local function draw(most)
    random = (random * 1103515245 + 12345) % 2147483648
    return 1 + math.floor(random / 65536) % most
  end
  local function padded(queue)
    queue.layout = "padded"
    return queue
  end
  local function one_by_one(queue) return { { queue[#queue], tokens = math.min(3, queue[#queue].pending_tokens) } } end
  for name, policy in pairs { fifo = pl.policy.fifo(), fill = pl.policy.fill(), buckets = pl.policy.buckets { 8, 16 }, padded = padded,
    one_by_one = one_by_one } do
    local work = {}
    for i = 1, 14 do work[i] = { prompt = draw(40), output = draw(9), priority = i % 3, client = "c" .. i % 2 } end
    local wanted, got = real(policy, work), pl.simulate(policy, work, m, { tokens = 64, rows = 8, ms_per_step = 1, ms_per_token = 0 })
    t.equal({ got.steps, got.tokens }, { wanted.steps, wanted.tokens }, name)
    t.near(got.waste, wanted.waste, 1e-12, name)
  end
end)

t.test("prompts that begin alike: what a real run computes, within 5 %", function()
  local random = 777
  local function draw(most)
    random = (random * 1103515245 + 12345) % 2147483648
    return 1 + math.floor(random / 65536) % most
  end
  local text = {}
  for k = 1, 400 do text[k] = (k * 7 + math.floor(k / 9) * 5) % m.vocab_size end
  for name, policy in pairs { fifo = pl.policy.fifo(), prefix_first = pl.policy.prefix_first(), token_budget = pl.policy.token_budget { tokens = 48 } } do
    local work, prompts, alike = {}, {}, {}
    for i = 1, 16 do   -- three beginnings of 100 tokens and more, of which each takes a part
      local group, shared = draw(3), 60 + draw(90)
      local length, output = shared + draw(30), draw(9)
      local ids = {}
      for k = 1, shared do ids[k] = text[(group * 101 + k) % 400 + 1] end
      for k = shared + 1, length do ids[k] = (i * 31 + k * 11) % m.vocab_size end
      work[i] = { prompt = length, output = output, prefix_tokens = shared, prefix = "g" .. group }
      prompts[i], alike[i] = ids, { prompt = ids, output = output }
    end
    local e = pl.engine(m, { policy = policy, max_tokens = 64, max_rows = 4, memory = 64 * 2 ^ 20 })
    local reused, lines = 0, {}
    for i, ids in ipairs(prompts) do lines[i] = e:submit({ ids = ids }, { max_new_tokens = work[i].output, do_sample = false, eos_token_id = {} }) end
    e:drain()
    local stats = e:stats()
    for _, line in ipairs(lines) do reused = reused + line:result().reused_tokens end
    e:close()
    t.ok(reused > 200, name)
    for how, list in pairs { lengths = work, ids = alike } do
      local got = pl.simulate(policy, list, m, { tokens = 64, rows = 4, ms_per_step = 1, ms_per_token = 0 })
      local label = ("%s by %s: %d and %d steps, %d and %d tokens, %d and %d shared"):format(name, how, got.steps, stats.steps, got.tokens, stats.tokens,
        got.reused_tokens, reused)
      t.ok(math.abs(got.steps - stats.steps) <= 0.05 * stats.steps, label)
      t.ok(math.abs(got.tokens - stats.tokens) <= 0.05 * stats.tokens, label)
      t.ok(math.abs(got.reused_tokens - reused) <= 0.05 * reused, label)
    end
  end
  local r = pl.simulate(pl.policy.fifo(), { { prompt = 70, prefix_tokens = 70, arrive_ms = 0 }, { prompt = 70, prefix_tokens = 70, arrive_ms = 99 } }, formula)
  t.equal({ r.tokens, r.reused_tokens }, { 71, 69 })   -- the last token runs for its logits
  local function bad(item, ...) t.raises_table(function() pl.simulate(pl.policy.fifo(), { item }, m, { ms_per_step = 1 }) end, ...) end
  bad({ prompt = 5, prefix_tokens = 6 }, "6 prefix_tokens, and the prompt has 5")
  bad({ prompt = 5, prefix = "a" }, "give prefix_tokens")
  bad({ prompt = { 1, 2 }, prefix_tokens = 1 }, "only the length is given")
end)

t.test("pages: of a model, of an estimate", function()
  local work = {}
  for i = 1, 6 do work[i] = { prompt = 30, output = 60 } end
  local needs = pl.estimate "scripts/models/tales"
  local page = 64 * needs.cache_per_token
  local r = pl.simulate(pl.policy.fifo(), work, needs)
  t.equal({ r.peak_bytes, r.steps, r.ms }, { 12 * page, 60, 60 })
  r = pl.simulate(pl.policy.fifo(), work, needs, { bytes = 3 * page })
  t.ok(r.peak_bytes <= 3 * page and r.steps > 60, "fewer at a time")
  for _, request in ipairs(r.requests) do t.equal({ request.finish_reason, request.output }, { "length", 60 }) end
  r = pl.simulate(pl.policy.fifo(), work, m, { ms_per_step = 1, ms_per_token = 0 })
  t.ok(r.peak_bytes > 0 and r.peak_bytes % 6 == 0)
  t.ok(pl.simulate(pl.policy.fifo(), { 3 }, m).ms > 0, "a model's times are measured")
  r = pl.simulate(pl.policy.fifo(), { { prompt = 5, output = 10000 } }, m, { ms_per_step = 1 })
  t.equal(r.requests[1].finish_reason, "context")
end)

t.test("the plan of a policy is checked as an engine checks it", function()
  local function bad(policy) return function() pl.simulate(policy, { 5 }, formula) end end
  t.equal(t.raises_table(bad(function() return {} end), "never runs request 1", "simulate_spec.lua").code, "policy")
  t.raises_table(bad(function(queue) return { { queue[1], tokens = 6 } } end), "6 tokens and has 5 pending")
  t.raises_table(bad(function(queue) return { queue[1], queue[1] } end), "twice")
  t.raises_table(bad(function() return { { id = 9 } } end), "request 9, which is not in the queue")
  t.raises_table(bad(function() return { layout = "square" } end), "layout")
  t.raises_table(bad(function() return 7 end), "not a plan")
  t.raises_table(bad(function() error "mine" end), "mine")
  local told = {}
  pl.simulate({ plan = function(queue) return queue end, submitted = function(e) told[#told + 1] = "+" .. e.id end,
    finished = function(e) told[#told + 1] = "-" .. e.id end }, { 3, 4 }, formula)
  t.equal(table.concat(told, " "), "+1 +2 -1 -2")
end)

t.test("drop, with a reason", function()
  local function strict(queue)
    local plan = { drop = {} }
    for _, entry in ipairs(queue) do
      if entry.client == "out" then plan.drop[#plan.drop + 1] = { entry, reason = "not today" } else plan[#plan + 1] = entry end
    end
    return plan
  end
  local r = pl.simulate(strict, { 3, { prompt = 4, client = "out" } }, formula)
  t.equal({ r.requests[1].finish_reason, r.requests[1].error, r.requests[2].finish_reason, r.requests[2].error },
    { "length", nil, "cancelled", "not today" })
  local e = pl.engine(m, { policy = strict })
  local kept, dropped = e:submit("Once", { max_new_tokens = 2 }), e:submit("The", { client = "out" })
  e:drain()
  t.equal({ kept:result().error, dropped:result().error, dropped:result().error_code, dropped:result().finish_reason },
    { nil, "not today", "policy", "cancelled" })
  t.raises_table(function() pl.simulate(function(queue) return { drop = { { queue[1], reason = 7 } } } end, { 3 }, formula) end, "reason must be a text")
end)

t.test("what is asked is checked", function()
  local fifo = pl.policy.fifo()
  t.raises_table(function() pl.simulate(nil, { 3 }, formula) end, "expected a policy")
  t.raises_table(function() pl.simulate(fifo, 7, formula) end, "expected a list of lengths")
  t.raises_table(function() pl.simulate(fifo, { 3 }, nil) end, "expected a model", "ms_per_step")
  t.raises_table(function() pl.simulate(fifo, { 3 }, { ms_per_stop = 1 }) end, "ms_per_step")
  t.raises_table(function() pl.simulate(fifo, { 3 }, { ms_per_step = -1 }) end, "0 or more")
  t.raises_table(function() pl.simulate(fifo, { 3 }, formula, { layuot = "padded" }) end, "layout")
  t.raises_table(function() pl.simulate(fifo, { 3, 0 }, formula) end, "work[2]", "from 1")
  t.raises_table(function() pl.simulate(fifo, { { promt = 3 } }, formula) end, "work[1]", "prompt")
  t.raises_table(function() pl.simulate(fifo, { { prompt = 3, arrive_ms = -1 } }, formula) end, "work[1]", "arrive_ms")
  t.raises_table(function() pl.simulate(fifo, { 100000 }, m, { ms_per_step = 1, ms_per_token = 0 }) end, "work[1]", "100000 tokens")
  t.raises_table(function() pl.simulate(fifo, { "Once" }, formula) end, "needs a model")
  t.equal(pl.simulate(fifo, { "Once upon a time", { 1, 2, 3 } }, m, { ms_per_step = 1, ms_per_token = 0 }).tokens, 8)
end)

t.test("other heads, sources, several answers", function()
  local whole = pl.load("scripts/models/reviews", { compute = "f32" })
  local r = pl.simulate(pl.policy.fifo(), { 30, 60, 20 }, whole, { tokens = 64, ms_per_step = 1, ms_per_token = 0 })
  t.equal({ r.steps, r.tokens, r.requests[1].finish_reason }, { 3, 110, "stop" })   -- an encoder's texts are never cut
  r = pl.simulate(pl.policy.fifo(), { { prompt = 4, output = 3, n = 3 } }, formula)
  t.equal({ r.steps, r.tokens, r.rows }, { 3, 10, 7 })
end)

t.test("the timeline as a picture", function()
  local r = pl.simulate(pl.policy.fifo(), { 5, 7, { prompt = 2, output = 4, arrive_ms = 2 } }, formula, { layout = "padded" })
  local svg = timeline.svg(r)
  t.ok(svg:find("^<svg ") and svg:find("</svg>\n$") and svg:find("steps", 1, true))
  local _, count = svg:gsub("<rect", "")
  t.ok(count > 12, tostring(count))
  t.raises_table(function() timeline.svg {} end, "pl.simulate")
  t.equal(core.write_json(r.wait_ms):find "p99" ~= nil, true)
end)
