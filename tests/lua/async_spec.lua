-- pl.async: tasks that wait for requests, driven by a frame; and modules that are run again while models stay.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local engine = pl.engine(m)
local function ask(text, n) return engine:submit(text, { max_new_tokens = n or 3, do_sample = false }) end
local function alone(text, n) return m:generate(text, { max_new_tokens = n or 3, do_sample = false }).text end
local function frames(budget)
  for i = 1, 10000 do if pl.async.step { budget_ms = budget or 1 } == 0 then return i end end
  error "tasks do not end"
end

t.test("a task waits frame by frame, and others go on meanwhile", function()
  local said, ticks = nil, 0
  local task = pl.async.run(function(text, n)
    local result = pl.async.await(ask(text, n))
    said = result.text
    return result.text, nil, 7
  end, "Once upon a time", 20)
  local other = pl.async.run(function()
    while task.state == "waiting" do
      ticks = ticks + 1
      pl.async.frame()
    end
  end)
  t.equal(task.state, "waiting")
  t.equal(tostring(task), "Task (waiting)")
  local needed = frames(0.2)
  t.ok(needed > 3 and ticks >= needed - 1, needed .. " frames, " .. ticks .. " ticks")
  t.equal(said, alone("Once upon a time", 20))
  t.equal(select("#", task:result()), 3)
  t.equal(select(3, task:result()), 7)
  t.equal(other.state, "done")
end)

t.test("several at once, in one batch; tasks wait for tasks", function()
  local outer = pl.async.run(function()
    local inner = pl.async.run(function() return pl.async.await(ask "The").text end)
    local results = pl.async.await { ask "Once", inner, ask("Once upon", 5) }
    return results[1].text, results[2], results[3].text
  end)
  frames()
  local a, b, c = outer:result()
  t.equal(a, alone "Once")
  t.equal(b, alone "The")
  t.equal(c, alone("Once upon", 5))
end)

t.test("without a task the caller waits", function()
  t.equal(pl.async.await(ask "Once").text, alone "Once")
  t.equal(#pl.async.await { ask "Once", ask "The" }, 2)
  t.equal(#pl.async.await {}, 0)
  local begin = pl.clock()
  pl.async.sleep(5)
  t.ok(pl.clock() - begin >= 0.005)
end)

t.test("events as they come", function()
  local pieces, kinds = {}, {}
  local task = pl.async.run(function()
    for event in pl.async.events(ask("Once upon a time", 6)) do
      kinds[#kinds + 1] = event.kind
      if event.kind == "token" then pieces[#pieces + 1] = event.text end
    end
  end)
  frames(0.2)
  t.equal(task.state, "done")
  t.equal(table.concat(pieces), alone("Once upon a time", 6))
  t.equal(kinds[#kinds], "done")
end)

t.test("errors: raised where they are waited for, told where nobody waits", function()
  local failing = pl.async.run(function()
    pl.async.frame()
    error { code = "script", message = "no iron" }
  end)
  local waiting = pl.async.run(function()
    local fine, err = pcall(pl.async.await, failing)
    return fine, err.message
  end)
  frames()
  t.equal(select(2, waiting:result()), "no iron")
  t.equal(failing.state, "failed")
  t.equal(failing:result(), nil)
  local told
  core.on_warning(function(text) told = text end)
  pl.async.run(function()
    pl.async.frame()
    error("nobody waits", 0)
  end)
  frames()
  core.on_warning(function() end)
  t.equal(told, "a task failed: nobody waits")
  local broken = engine:submit("Once", { max_new_tokens = 4, stop_when = function() error "in stop_when" end })
  local task = pl.async.run(function() return pl.async.await(broken) end)
  pl.async.run(function() pcall(pl.async.await, task) end)
  frames()
  t.equal(task.state, "failed")
  t.ok(task.error.message:find "in stop_when", task.error.message)
end)

t.test("cancel: the request ends, the error may be caught, what ends early holds nobody", function()
  local request, cleaned = ask("Once upon a time", 200), false
  local task = pl.async.run(function()
    local fine, err = pcall(pl.async.await, request)
    cleaned = not fine and err.code == "cancelled"
    error(err, 0)
  end)
  pl.async.step { budget_ms = 1 }
  task:cancel()
  t.equal(task.state, "cancelled")
  t.ok(cleaned)
  engine:drain()
  t.equal(request:result().finish_reason, "cancelled")
  task:cancel()   -- again: nothing
  local stubborn = pl.async.run(function()
    pcall(pl.async.sleep, 1e6)
    pl.async.frame()
    return "went on"
  end)
  stubborn:cancel()
  t.equal(stubborn.state, "waiting")
  frames()
  t.equal(stubborn:result(), "went on")
  -- A request that is cancelled by somebody else is a result.
  local other = ask("The", 200)
  local waiting = pl.async.run(function() return pl.async.await(other).finish_reason end)
  other:cancel()
  frames()
  t.equal(waiting:result(), "cancelled")
  -- One that ends while its request is under way: nobody steps that any more.
  local left = ask("The", 200)
  pl.async.run(function() return left end)
  t.equal(pl.async.step(), 0)
  t.equal(left:result(), nil)
  left:cancel()
  engine:drain()
end)

t.test("what is no task, or waits where it cannot", function()
  t.raises_table(function() pl.async.run(7) end, "expected a function")
  t.raises_table(function() pl.async.await(7) end, "expected a Request")
  t.raises_table(function() pl.async.await { 7 } end, "entry 1")
  t.raises_table(function() pl.async.frame() end, "no task")
  t.raises_table(function() pl.async.sleep(-1) end, "milliseconds")
  t.raises_table(function() pl.async.events(7) end, "expected a Request")
  t.raises_table(function() pl.async.step { budget = 1 } end, "budget_ms")
  local inside = pl.async.run(function()
    local fine, err = coroutine.wrap(function() return pcall(pl.async.sleep, 1) end)()
    return fine, err.message
  end)
  frames()
  t.ok(select(2, inside:result()):find "inside the task")
end)

t.test("a module that is run again: its holders see the new functions, what pl.once made stays", function()
  local folder = os.tmpname() .. "-modules"
  pl.files.make_folder(folder)
  local function write(text)
    local file = assert(io.open(folder .. "/smith_again.lua", "w"))
    file:write(text)
    file:close()
  end
  local head = [[local pl = require "perilune"
    local loads = pl.once("loads of the smith", function() return { n = 0 } end)
    local model = pl.once("the smith's model", function() loads.n = loads.n + 1 return pl.load "scripts/models/tales" end)
    local talk = pl.once("the smith's cache", function() return model:cache() end)
    return { loads = loads, model = model, talk = talk, greeting = function() return ]]
  local path = package.path
  package.path = folder .. "/?.lua;" .. path
  write(head .. '"Hello" end, old = true }')
  local smith = require "smith_again"
  local model, talk = smith.model, smith.talk
  model:generate("Once", { max_new_tokens = 2, cache = talk })
  local cached = talk.length
  write(head .. '"Good day" end }')
  t.equal(pl.reload "smith_again", smith)
  t.equal(smith.greeting(), "Good day")
  t.equal(smith.old, nil)
  t.ok(smith.model == model and smith.talk == talk and smith.loads.n == 1 and talk.length == cached)
  write "return {"
  t.ok(not pcall(pl.reload, "smith_again"))
  t.ok(require "smith_again" == smith and smith.greeting() == "Good day")
  t.raises_table(function() pl.reload "perilune.core" end, "part of the library")
  t.raises_table(function() pl.once("x") end, "function that makes x")
  package.path = path
  pl.files.remove(folder, { all = true })
end)
