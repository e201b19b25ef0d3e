-- Data parallel: one engine with several loads of one model, one queue, the same answers whoever gives them. The second
-- device is the emulator, or the one that PERILUNE_TEST_DEVICE names.
local pl = require "perilune"
local t = require "spec"

local tales = "scripts/models/tales"
local prompts = { "Once upon a time", "The", "A fox", "One day", "Early", "She said" }

-- The answers to all prompts, and the engine.
local function serve(models, o)
  local e = pl.engine(models, o)
  local lines, ids = {}, {}
  for i, prompt in ipairs(prompts) do
    lines[i] = e:submit(prompt, { max_new_tokens = 6, seed = i, client = "client" .. i })
  end
  e:drain()
  for i, line in ipairs(lines) do ids[i] = line:result().ids end
  return ids, e
end

t.test("two loads of one model share the requests, and answer as one does", function()
  local a, b = pl.load(tales, { device = "cpu" }), pl.load(tales, { device = "cpu" })
  local alone = serve(a)
  local ids, e = serve { a, b }
  t.equal(ids, alone)
  local seen = e:replicas()
  t.equal({ seen[1].taken, seen[2].taken, seen[1].unfinished, seen[2].unfinished }, { 3, 3, 0, 0 })
  t.ok(rawequal(seen[2].model, b))
end)

t.test("who is done takes more", function()
  local a, b = pl.load(tales, { device = "cpu" }), pl.load(tales, { device = "cpu" })
  local e = pl.engine { a, b }
  e:submit("Once", { max_new_tokens = 40 })
  local short = e:submit("The", { max_new_tokens = 1 })
  while short.state ~= "done" do e:step() end
  e:submit("A fox", { max_new_tokens = 1 })
  local seen = e:replicas()
  t.equal({ seen[1].taken, seen[2].taken, seen[1].unfinished, seen[2].unfinished }, { 1, 2, 1, 1 })
end)

t.test("a policy chooses, by place or by model; what it cannot choose is its error", function()
  local a, b = pl.load(tales, { device = "cpu" }), pl.load(tales, { device = "cpu" })
  local alone = serve(a)
  local asked = {}
  local function policy(choose)
    return { plan = function(queue) return queue end, replica = function(request, seen)
      asked[#asked + 1] = { request.client, request.kind, #seen }
      return choose(request, seen)
    end }
  end
  local ids, e = serve({ a, b }, { policy = policy(function() return 2 end) })
  t.equal(ids, alone)
  t.equal({ e:replicas()[1].taken, e:replicas()[2].taken }, { 0, 6 })
  t.equal(asked[2], { "client2", "generate", 2 })
  local _
  _, e = serve({ a, b }, { policy = policy(function(request) return request.client == "client3" and b or a end) })
  t.equal({ e:replicas()[1].taken, e:replicas()[2].taken }, { 5, 1 })
  t.raises_text(function() serve({ a, b }, { policy = policy(function() return 3 end) }) end, "chose replica 3 of 2", "gives a place")
end)

t.test("model= is still asked for by name, and models that differ are no replicas", function()
  local a, b = pl.load(tales, { device = "cpu" }), pl.load(tales, { device = "cpu" })
  local e = pl.engine { a, b }
  e:submit("Once", { max_new_tokens = 1, model = b })
  e:drain()
  t.equal({ e:replicas()[1].taken, e:replicas()[2].taken }, { 0, 0 })
  t.equal(#pl.engine { a, pl.load(tales, { device = "cpu", compute = "bf16" }) }:replicas(), 0)
  t.equal(#pl.engine { a, pl.load("scripts/models/reviews", { device = "cpu" }) }:replicas(), 0)
  t.equal(#pl.engine(a):replicas(), 0)
  b:set_weight("norm", b:weight "norm" * 2)
  t.equal(#pl.engine { a, b }:replicas(), 0)
end)

t.test("replicas on two devices answer the same", function()
  local folder, o = t.golden "llama-gqa", { compute = "f32", tokenizer = false }
  local a = pl.load(folder, t.with({ device = "cpu" }, o))
  local fine, b = pcall(pl.load, folder, t.with({ device = os.getenv "PERILUNE_TEST_DEVICE" or "emulator" }, o))
  if not fine then t.skip(tostring(b)) end
  local e, lines = pl.engine { a, b }, {}
  local greedy = { max_new_tokens = 6, do_sample = false, eos_token_id = {} }
  for i = 1, 4 do lines[i] = e:submit({ 1, 7 + i, 12 }, greedy) end
  e:drain()
  for i = 1, 4 do t.equal(lines[i]:result().ids, a:generate({ 1, 7 + i, 12 }, greedy).ids) end
  local seen = e:replicas()
  t.equal({ seen[1].taken, seen[2].taken }, { 2, 2 })
  t.equal({ seen[1].device, seen[2].device }, { a.device, b.device })
end)
