-- An engine looked into: its queue step by step, who waits for what, another policy on the way, the picture of a run.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local options = { max_new_tokens = 4, do_sample = false }

local function text_of(e, opts)
  local path = os.tmpname() .. ".svg"
  e:timeline(path, opts)
  local text = core.read_file(path)
  os.remove(path)
  return text
end

t.test("the queue says who runs, who waits and for what, step by step", function()
  local e = pl.engine(m, { max_rows = 1 })
  local lines = { e:submit("Once", options), e:submit("The fox", options) }
  t.equal(e:queue().waiting, 2)
  t.ok(tostring(e:queue()):find("2 waiting, 0 running", 1, true))
  e:step()
  local q = e:queue()
  t.equal({ q[1].id, q[1].runs, q[1].waits_for }, { lines[1].id, 2, nil })
  t.equal({ q[2].runs, q[2].waits_for }, { nil, "the step's rows: 1 of 1 are taken" })
  t.ok(q.tokens_per_s > 0 and q.cache_bytes > 0)
  t.ok(tostring(q):find("waits for the step's rows", 1, true), tostring(q))
  e:set_policy(function(queue) return { queue[#queue] } end)
  e:step()
  q = e:queue()
  t.equal({ q[1].waits_for, q[2].runs }, { "the step's rows: 1 of 1 are taken", 3 })
  e:set_policy(pl.policy.fifo())
  e:drain()
  t.equal({ e:queue().finished, #e:queue() }, { 2, 0 })
  for i, prompt in ipairs { "Once", "The fox" } do t.equal(lines[i]:result().ids, m:generate(prompt, options).ids) end
  e:close()
end)

t.test("the picture of a run: every step where it was recorded, else the times of each request", function()
  for _, record in ipairs { true, false } do
    local e = pl.engine(m, { record = record, policy = pl.policy.buckets { 4, 64 } })
    local lines = {}
    for i = 1, 5 do lines[i] = e:submit(("Once upon a time "):rep(i), options) end
    e:drain()
    local svg = text_of(e)
    t.ok(svg:find "^<svg" and svg:find("reads its prompt", 1, true))
    local _, reads = svg:gsub('fill="#38c"', "")
    local _, writes = svg:gsub('fill="#7b4"', "")
    t.ok(reads >= 6 and writes >= 6, ("%d %d"):format(reads, writes))
    t.equal(#lines, 5)
    if record then t.ok(svg:find("[1-9]%d* steps")) end
    e:close()
    t.raises_table(function() e:timeline "x.svg" end, "closed")
  end
end)

t.test("by steps the picture is the same however long they took", function()
  local pictures = {}
  for i = 1, 2 do
    local e = pl.engine(m, { record = true, max_rows = 2 })
    for n = 1, 3 do e:submit(("Once upon a time "):rep(n), options) end
    e:step()
    e:submit("The fox", options)
    if i == 2 then pl.sleep(0.01) end
    e:drain()
    pictures[i] = text_of(e, { by = "steps" })
    e:close()
  end
  t.equal(pictures[1], pictures[2])
  t.ok(pictures[1]:find(">%d+ steps<"))
end)

t.test("what is wrong is said", function()
  local e = pl.engine(m)
  t.raises_table(function() e:timeline("x.svg", { by = "steps" }) end, "record")
  t.raises_table(function() e:timeline() end, "file name")
  t.ok(text_of(e):find "^<svg")
  e:close()
  t.raises_table(function() pl.engine(m, { record = true, worker = true }) end, "record")
  e = pl.engine(m, { worker = true })
  t.raises_table(function() e:queue() end, "thread of its own")
  e:close()
end)
