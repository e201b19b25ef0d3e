-- Every shipped policy over random work, simulated and in real engines: everything ends, nobody starves where
-- that is promised, and no answer's bits depend on who ran beside it.
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local cost = { ms_per_step = 1, ms_per_token = 0.02, cache_per_token = 8 }

local makers = {
  fifo = pl.policy.fifo, fill = pl.policy.fill, buckets = function() return pl.policy.buckets { 8, 24 } end,
  shortest_first = function() return pl.policy.shortest_first { patience = 20 } end, bin_pack = pl.policy.bin_pack,
  token_budget = function() return pl.policy.token_budget(24) end, priority = function() return pl.policy.priority { ageing_ms = 20 } end,
  fair = function() return pl.policy.fair { weights = { a = 2 } } end, deadline = pl.policy.deadline,
  prefix_first = pl.policy.prefix_first, padded = function() return pl.policy.padded { rows = 4 } end,
}
local names = {}
for name in pairs(makers) do names[#names + 1] = name end
table.sort(names)

local function randomly(seed)
  local state = seed
  return function(most)
    state = (state * 1103515245 + 12345) % 2147483648
    return 1 + math.floor(state / 65536) % most
  end
end

local function random_work(seed, forward)
  local draw, work = randomly(seed), {}
  for i = 1, 3 + draw(20) do
    work[i] = { prompt = draw(60), output = draw(12), arrive_ms = draw(3) == 1 and draw(40) or 0, priority = draw(4) - 2,
      client = draw(4) > 1 and ("abc"):sub(draw(3)):sub(1, 1) or nil, tag = draw(2) == 1 and "p" .. draw(3) or nil, n = draw(6) == 1 and 2 or nil }
    if forward and draw(3) == 1 then work[i].kind, work[i].output, work[i].n = "forward", 0, nil end
  end
  return work
end

for _, name in ipairs(names) do
  t.test(name .. ": all of random work ends, with what it should have computed", function()
    for seed = 1, 60 do
      local work, room = random_work(seed, true), { tokens = 16 + 24 * (seed % 4), rows = 2 + seed % 5 * 3 }
      if seed % 3 == 0 then room.bytes = 8 * 64 * 5 end
      local r = pl.simulate(makers[name](), work, cost, room)
      local tokens = 0
      for i, item in ipairs(work) do
        local rows = item.n or 1
        tokens = tokens + item.prompt + rows * math.max(0, item.output - 1)
        t.equal({ r.requests[i].finish_reason, r.requests[i].error, r.requests[i].output },
          { item.kind == "forward" and "stop" or "length", nil, item.kind == "forward" and 0 or item.output }, name .. ", work " .. seed .. ", request " .. i)
      end
      t.ok(r.tokens >= tokens, "less was computed than asked for")
      if not room.bytes then t.equal(r.tokens, tokens, name .. ", work " .. seed) end
      t.ok(name == "padded" or r.waste == 0)
    end
  end)
end

-- One long request among short ones that never stop coming.
local function besieged(policy, long)
  local work = { long }
  for i = 1, 400 do work[#work + 1] = { prompt = 6, output = 2, arrive_ms = i / 2, client = "many", priority = 5, deadline_ms = 100000 } end
  local r = pl.simulate(policy, work, { ms_per_step = 1 }, { tokens = 16, rows = 3 })
  return r.requests[1].end_ms, r.ms
end

t.test("nobody starves where that is promised", function()
  for _, name in ipairs { "fifo", "buckets", "shortest_first", "bin_pack", "token_budget", "priority", "fair", "prefix_first", "padded" } do
    local ended, all = besieged(makers[name](), { prompt = 30, output = 4, client = "one", priority = 0 })
    t.ok(ended < 0.7 * all, ("%s: ended at %g of %g ms"):format(name, ended, all))
  end
  local ended, all = besieged(pl.policy.priority { ageing_ms = 1e9 }, { prompt = 30, output = 4, priority = 0 })
  t.ok(ended > 0.9 * all, "without ageing it does")   -- so the work above is a siege
end)

t.test("the Lua of fifo, fill and buckets plans as the engine's own", function()
  for name, own in pairs { fifo = pl.policy.fifo(), fill = pl.policy.fill(), buckets = pl.policy.buckets { 8, 24 } } do
    for seed = 1, 40 do
      local work = random_work(seed, seed % 2 == 0)
      local room = { tokens = 20 + seed, rows = 2 + seed % 6 }
      local a = pl.simulate(own, work, cost, room)
      local b = pl.simulate(require("perilune.policy." .. name) { 8, 24 }, work, cost, room)
      t.equal(b.timeline, a.timeline, name .. ", work " .. seed)
    end
  end
end)

t.test("answers keep their bits under every policy", function()
  local draw, prompts, opts = randomly(7), {}, {}
  local words = { "Once upon a time", "The", "[wizard, mysterious, about the scroll]", "One day a fox", "There was a king who had many sons." }
  for i = 1, 10 do
    prompts[i] = (words[draw(#words)] .. " "):rep(draw(3)):sub(1, -2)
    opts[i] = { max_new_tokens = 2 + draw(8), seed = i, temperature = 0.8, logprobs = 1, eos_token_id = {}, client = "c" .. draw(3),
      priority = draw(3), tag = "t" .. draw(2), deadline_ms = 1e7 }
  end
  local alone = {}
  for i, prompt in ipairs(prompts) do
    local o = {}
    for key, value in pairs(opts[i]) do o[key] = value end
    alone[i] = m:generate(prompt, o)
  end
  for _, name in ipairs(names) do
    local e, lines = pl.engine(m, { policy = makers[name](), max_tokens = 24, max_rows = 4 }), {}
    for i, prompt in ipairs(prompts) do lines[i] = e:submit(prompt, opts[i]) end
    e:drain()
    for i, line in ipairs(lines) do
      local r = line:result()
      t.equal({ r.ids, r.logprobs, r.finish_reason }, { alone[i].ids, alone[i].logprobs, alone[i].finish_reason }, name .. ", prompt " .. i)
    end
    e:close()
  end
end)

t.test("shortest_first, priority and fair do what they are for", function()
  local long, short = { prompt = 40, output = 20, client = "a" }, { prompt = 5, output = 2, client = "b" }
  local r = pl.simulate(pl.policy.shortest_first(), { long, short }, cost, { rows = 1 })
  t.ok(r.requests[2].end_ms < r.requests[1].first_token_ms)
  r = pl.simulate(pl.policy.priority(), { long, { prompt = 5, output = 2, priority = 1, arrive_ms = 5 } }, cost, { rows = 1 })
  t.ok(r.requests[2].wait_ms < 2 and r.requests[2].end_ms < r.requests[1].end_ms, "it goes before an answer under way")
  local work = {}
  for i = 1, 20 do work[i] = { prompt = 10, output = 6, client = "greedy" } end
  work[21] = { prompt = 10, output = 6, client = "modest" }
  t.ok(pl.simulate(pl.policy.fair(), work, cost, { tokens = 20, rows = 4 }).requests[21].wait_ms < 3)
  t.ok(pl.simulate(pl.policy.fifo(), work, cost, { tokens = 20, rows = 4 }).requests[21].wait_ms > 20)
  work = {}
  for i = 1, 40 do work[i] = { prompt = 10, output = 0, client = i % 2 == 0 and "gold" or "plain" } end
  r = pl.simulate(pl.policy.fair { weights = { gold = 3 } }, work, cost, { tokens = 10, rows = 1 })
  local gold = 0
  for step = 1, 20 do gold = gold + (r.timeline[step].ran[1].request % 2 == 0 and 1 or 0) end
  t.ok(gold >= 14 and gold <= 16, "gold had " .. gold .. " of 20")
end)

t.test("deadline says in the result what it dropped; token_budget keeps steps small", function()
  local e = pl.engine(m, { policy = pl.policy.deadline() })
  local kept, late = e:submit("Once", { max_new_tokens = 3, eos_token_id = {} }), e:submit("The", { deadline_ms = 1e-6, max_new_tokens = 3 })
  e:drain()
  t.equal({ kept:result().finish_reason, late:result().finish_reason, late:result().error_code }, { "length", "cancelled", "policy" })
  t.ok(late:result().error:find "^deadline: ")
  local work = { { prompt = 5, output = 30, deadline_ms = 10 }, { prompt = 5, output = 8, deadline_ms = 10 } }
  t.equal(pl.simulate(pl.policy.deadline { judge = "first_token" }, work, { ms_per_step = 1 }).requests[1].error, "deadline: 0 ms too late")
  local r = pl.simulate(pl.policy.token_budget { tokens = 10 }, { { prompt = 5, output = 30 }, 100, { prompt = 25, kind = "forward" } }, cost)
  for _, step in ipairs(r.timeline) do t.ok(step.tokens <= 25) end   -- a forward of 25 cannot be cut
end)

t.test("prefix_first: one of a group reads, the others follow", function()
  local work = {}
  for i = 1, 6 do work[i] = { prompt = 20, output = 2, tag = i <= 3 and "a" or "b" } end
  local r = pl.simulate(pl.policy.prefix_first(), work, { ms_per_step = 1 })
  t.equal(#r.timeline[1].ran, 2)
  t.equal({ r.requests[1].wait_ms, r.requests[4].wait_ms, r.requests[2].wait_ms, r.requests[6].wait_ms }, { 0, 0, 1, 1 })
  r = pl.simulate(pl.policy.prefix_first { group = function() return "all" end }, work, { ms_per_step = 1 })
  t.equal(#r.timeline[1].ran, 1)
end)

t.test("options of policies are checked", function()
  t.raises_table(function() pl.policy.shortest_first { patiense = 3 } end, "patience")
  t.raises_table(function() pl.policy.token_budget(0) end, "tokens")
  t.raises_table(function() pl.policy.priority { ageing_ms = 0 } end, "above 0")
  t.raises_table(function() pl.policy.fair { weights = { a = 0 } } end, "weights", "above 0")
  t.raises_table(function() pl.policy.deadline { judge = "me" } end, "first_token")
  t.raises_table(function() pl.policy.prefix_last() end, "prefix_first")
  for _, name in ipairs(names) do t.equal(makers[name]().name, name) end
end)
