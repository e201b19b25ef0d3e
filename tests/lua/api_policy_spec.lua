-- Policies, to the letter of the Lua surface: what they see, what they may answer, what they break.
local pl = require "perilune"
local t = require "spec"

local nan = 0 / 0
local m = pl.load("scripts/models/tales", { compute = "f32" })
local options = { max_new_tokens = 6, do_sample = false, eos_token_id = {} }
local prompts = { "Once upon a time", "The", "[wizard, mysterious, about the scroll]", "One day a fox" }
local answers = {}
for i, result in ipairs(m:generate(prompts, options)) do answers[i] = result.ids end

local function with(more) return t.with(options, more) end

t.test("set_policy from inside a policy, and policies that close their engine", function()
  local e
  e = pl.engine(m, { policy = function(queue)
    e:set_policy(pl.policy.fifo())
    collectgarbage()
    return queue
  end })
  local line = e:submit(prompts[1], options)
  e:drain()
  t.equal(line:result().ids, answers[1])
  e:set_policy(function(queue) e:close() return queue end)
  local next_line = e:submit(prompts[1], options)
  t.raises_table(function() e:drain() end, "inside")
  e:set_policy(pl.policy.fifo())
  e:drain()
  t.equal(next_line:result().ids, answers[1])
end)

t.test("what a policy sees of a queue and of the room", function()
  local entries, rooms, tags, box = {}, {}, {}, { npc = 7 }
  local e = pl.engine(m, { policy = function(queue, room)
    for _, entry in ipairs(queue) do
      entries[entry.id] = entries[entry.id] or { first = entry, states = {} }
      t.ok(entries[entry.id].first == entry)                        -- the same table in every step
      entry.mine = (entry.mine or 0) + 1
      entries[entry.id].states[entry.state] = true
      tags[entry.id] = entry.tag
      for key, kind in pairs { id = "number", kind = "string", state = "string", prompt_tokens = "number", cached_tokens = "number",
        pending_tokens = "number", new_tokens = "number", max_new_tokens = "number", waited_steps = "number", waited_ms = "number",
        priority = "number" } do t.equal(type(entry[key]), kind, key) end
    end
    rooms[#rooms + 1] = room
    for _, key in ipairs { "tokens", "rows", "page_tokens", "bytes", "now_ms", "step" } do t.equal(type(room[key]), "number", key) end
    for _, entry in ipairs(queue) do t.equal({ type(entry.pages_needed), type(room.pages[entry.pool]) }, { "number", "number" }) end
    t.equal(room.more, false)
    return queue
  end })
  local a = e:submit(prompts[1], with { client = "a", tag = box, priority = 2, deadline_ms = 5000 })
  local b = e:submit(prompts[2], with { tag = 7 })
  while not e:step({ budget_ms = 50 }).idle do end
  t.equal({ a:result().ids, b:result().ids }, { answers[1], answers[2] })
  local entry = entries[a.id].first
  t.equal({ entry.client, entry.priority, entry.kind, entry.mine > 1 }, { "a", 2, "generate", true })
  t.ok(entry.deadline_ms > 0)
  t.ok(tags[a.id] == box and tags[b.id] == 7, "tags come back as they were given")
  t.ok(entries[a.id].states.decode)
  t.equal(rooms[1].budget_ms ~= nil, true)
end)

t.test("a queue may be sorted, emptied, filled with rubbish: it is the policy's own list", function()
  for _, spoil in ipairs {
    function(queue) local plan = { queue[1] } for i = #queue, 1, -1 do queue[i] = nil end return plan end,
    function(queue) local plan = { queue[#queue] } queue[1] = "rubbish" queue.x = 1 return plan end,
    function(queue) queue[1].state, queue[1].pending_tokens = "done", -1 return queue end,
    function(queue) queue[1].prompt_tokens = nil return { { queue[1], tokens = 1 } } end,
  } do
    local e = pl.engine(m, { policy = function(queue) return spoil(queue) end })
    local a, b = e:submit(prompts[1], options), e:submit(prompts[2], options)
    e:drain()
    t.equal({ a:result().ids, b:result().ids }, { answers[1], answers[2] })
  end
end)

t.test("plans that are rubbish: an error with a place, nothing changed", function()
  local bad = {
    function() end, function() return "all" end, function() return true end, function(queue) return { queue[1], "x" } end,
    function(queue) return { queue[1].id } end, function(queue) return { { queue[1], tokens = 0 } } end,
    function(queue) return { { queue[1], tokens = -1 } } end, function(queue) return { { queue[1], tokens = 1.5 } } end,
    function(queue) return { { queue[1], tokens = nan } } end, function(queue) return { { queue[1], tokens = "2" } } end,
    function() return { {} } end, function() return { { id = nan } } end, function() return { { id = "1" } } end,
    function(queue) return { queue[1], layout = "square" } end, function(queue) return { queue[1], wait_ms = -1 } end,
    function(queue) return { queue[1], wait_ms = "x" } end, function(queue) return { queue[1], drop = 7 } end,
    function(queue) return { queue[1], preempt = { {} } } end, function(queue) return { queue[1], drops = {} } end,
    function(queue) return { queue[1], drop = { queue[1] } } end, function() error { code = "mine" } end, function() error() end,
    function() local _ = nil .. "x" end, function() coroutine.yield() end,
  }
  for i, policy in ipairs(bad) do
    local e = pl.engine(m, { policy = policy })
    local line = e:submit(prompts[1], options)
    local fine, err = pcall(function() e:drain() end)
    t.ok(not fine, "plan " .. i .. " was taken")
    t.equal({ type(err), line.state, line:result() }, { "table", "waiting", nil }, "plan " .. i)
    e:set_policy(pl.policy.fifo())
    e:drain()
    t.equal(line:result().ids, answers[1])
  end
  local e = pl.engine(m, { policy = function() return {} end })
  local line = e:submit(prompts[1], options)
  local err = t.raises_table(function() e:drain() end, "never runs request " .. line.id)
  t.equal(err.code, "policy")
  t.ok(err.message:find("api_policy_spec", 1, true), err.message)
end)

t.test("plans that are odd and right", function()
  for _, policy in ipairs {
    function(queue) return { { queue[1], tokens = 1 } } end,
    function(queue) return { queue[#queue], layout = "padded" } end,
    function(queue) return { queue[1], layout = "ragged", drop = {}, preempt = {}, wait_ms = 0 } end,
    { plan = function(queue) return queue end, submitted = function() end, finished = function() end, name = "mine", anything = 1 },
  } do
    local e = pl.engine(m, { policy = policy })
    local lines = {}
    for i, text in ipairs(prompts) do lines[i] = e:submit(text, options) end
    e:drain()
    for i in ipairs(prompts) do t.equal(lines[i]:result().ids, answers[i]) end
  end
end)

t.test("drop ends a request, the others go on", function()
  local e = pl.engine(m, { policy = function(queue)
    local plan = { drop = {} }
    for _, entry in ipairs(queue) do
      if entry.client == "out" then plan.drop[#plan.drop + 1] = entry else plan[#plan + 1] = entry end
    end
    return plan
  end })
  local kept, dropped = e:submit(prompts[1], options), e:submit(prompts[2], with { client = "out" })
  e:drain()
  t.equal({ kept:result().ids, dropped.state }, { answers[1], "done" })
  t.ok(dropped:result().finish_reason == "cancelled" or dropped:result().finish_reason == "error")
end)

t.test("a policy's submitted and finished may break: the engine says so and lives", function()
  for _, key in ipairs { "submitted", "finished" } do
    local e = pl.engine(m, { policy = { plan = function(queue) return queue end, [key] = function() error "broken" end } })
    local fine, line = pcall(function() return e:submit(prompts[1], options) end)
    if fine then pcall(e.drain, e) else t.ok(tostring(line):find("broken", 1, true)) end
    e:set_policy(pl.policy.fifo())
    e:drain()
    if fine then t.equal(line:result().ids, answers[1]) end
    t.equal((function() local l = e:submit(prompts[2], options) e:drain() return l:result().ids end)(), answers[2])
  end
end)
