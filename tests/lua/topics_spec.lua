-- What `perilune help TOPIC` says is true: the Lua in every topic and task runs and prints what it says.
local pl = require "perilune"
local documentation = require "perilune.help.documentation"
local help = require "perilune.help.help"
local pipeline = require "perilune.pipeline"
local tasks = require "perilune.help.tasks"
local topics = require "perilune.help.topics"
local t = require "spec"

-- Runs code whose prints are told in `prints`; one that is cut short is the beginning of its line.
local function run(code, prints, where)
  local chunk = t.ok(loadstring(code, "=" .. where))
  local said = {}
  setfenv(chunk, setmetatable({ pl = pl, print = function(...)
    local words = {}
    for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
    said[#said + 1] = table.concat(words, "\t")
  end }, { __index = _G }))
  local fine, err = xpcall(chunk, debug.traceback)
  t.ok(fine, where .. ": " .. tostring(err))
  t.equal(#said, #prints, where .. ": lines printed, of those told")
  for i, line in ipairs(prints) do
    t.ok(said[i]:sub(1, #line) == line, ("%s: line %d: expected %q, printed %q"):format(where, i, line, said[i]))
  end
end

for _, name in ipairs(topics.names) do
  t.test("topic " .. name, function()
    local code, prints = topics.code(topics.text(name))
    if name ~= "tasks" and name ~= "pipelines" then t.ok(#prints > 0, "no example") end
    run(code, prints, name)
  end)
end

for _, task in ipairs(tasks.list) do
  t.test("task " .. task.name, function()
    local code, prints = topics.code(tasks.code(task))
    t.ok(#prints > 0, "no example")
    run(code, prints, task.name)
  end)
end

t.test("tasks: exactly those of pl.pipeline, with exactly their options", function()
  local told = {}
  for _, task in ipairs(tasks.list) do
    local options = {}
    for _, option in ipairs(task.options) do options[option[1]] = true end
    for _, option in ipairs(tasks.common) do options[option[1]] = true end
    told[task.name] = options
    for _, alias in ipairs(task.aliases or {}) do t.equal(pipeline.tasks()[alias], pipeline.tasks()[task.name], alias) end
  end
  for name, spec in pairs(pipeline.tasks()) do
    local options = {}
    for key in pairs(spec) do options[key] = true end
    local own = told[name]
    if own then t.equal(own, options, name) end
  end
  for name in pairs(told) do t.ok(pipeline.tasks()[name], name) end
  local count = 0
  for _ in pairs(pipeline.tasks()) do count = count + 1 end
  t.equal(count, #tasks.list + 2)
end)

local examples = 0
for _, entry in ipairs(documentation.all().list) do
  local code, prints = topics.code(entry.text)
  if code:find "%S" then
    examples = examples + 1
    t.test("example of " .. entry.name, function() run(code, prints, entry.name) end)
  end
end

t.test("every function of the reference has an example", function()
  t.ok(examples >= 200, examples .. " entries have one")
  for _, entry in ipairs(documentation.all().list) do
    -- What a Net does stands in a family: docs/guide and the README write whole ones down.
    local shown = entry.kind == "class" or entry.owner == "Net" or (entry.kind ~= "method" and entry.kind ~= "function")
    if not shown then t.ok((topics.code(entry.text)):find "%S", entry.name .. " has no example") end
  end
end)

t.test("the types that scripts are given have examples", function()
  for _, name in ipairs { "Result", "QueueEntry", "Room", "Plan", "State", "Error", "Event", "Score" } do
    t.ok((topics.code(documentation.all().by_name[name].text)):find "%S", name .. " has no example")
  end
end)

-- Fields that are there in some answer, against those that are described.
local function described(class, given)
  local known = {}
  for _, entry in ipairs(documentation.of(class)) do known[entry.member] = true end
  local seen = {}
  for _, one in ipairs(given) do
    for key in pairs(one) do
      t.ok(known[key], ("%s.%s is not described"):format(class, tostring(key)))
      seen[key] = true
    end
  end
  for key in pairs(known) do t.ok(seen[key], ("%s.%s is described, and in no answer"):format(class, key)) end
end

t.test("fields of results, events, queues, rooms, states and errors: described and there", function()
  local m, encoder = pl.load("scripts/models/tales", { compute = "f32" }), pl.load "tests/golden/bert-base"
  local entries, rooms, states, events = {}, {}, {}, {}
  local function copy(list, from)
    local out = {}
    for key, value in pairs(from) do out[key] = value end
    list[#list + 1] = out
  end
  local function look(queue, room)
    for _, entry in ipairs(queue) do copy(entries, entry) end
    copy(rooms, room)
    return queue
  end
  local function generate(opts) return m:generate("Once upon a time", t.with({ max_new_tokens = 2 }, opts)) end
  local long, all_but_one = ("Once upon a time. "):rep(300), {}
  for id = 0, m.vocab_size - 2 do all_but_one[id + 1] = id end
  local engine, reader = pl.engine(m, { policy = look }), pl.engine(encoder)
  local line = engine:submit("Once", { max_new_tokens = 2, n = 2, deadline_ms = 5, priority = 1, client = "c", tag = "t",
    stop_when = function(state) copy(states, state) return false end })
  while not engine:idle() do engine:step { budget_ms = 5 } end
  for event in line:events() do copy(events, event) end
  local read = reader:submit { 5, 6 }
  reader:drain()
  described("Result", { generate { logprobs = 2, prompt_logprobs = true, n = 2 }, generate { stop_when = function() return "enough" end },
    generate { prompt_lookup_num_tokens = 2 }, generate { num_beams = 2, num_return_sequences = 2, suppress_tokens = all_but_one, do_sample = false },
    m:generate({ "Once" }, { processors = function() error "no" end })[1], m:generate(long, { max_new_tokens = 2, context = "truncate_left" }), read:result() })
  described("Event", events)
  described("QueueEntry", entries)
  described("Room", rooms)
  described("State", states)
  described("Score", { m:score("Once upon", { top = 2 }) })
  local _, first = pl.try(pl.zeros({ 2 }, { axes = { "batch" } }).softmax, pl.zeros({ 2 }, { axes = { "batch" } }), "btch")
  described("Error", { first })
end)

t.test("help finds topics and tasks, and names them where nothing is found", function()
  t.ok(help.text("masks"):find("A mask says", 1, true))
  t.ok(help.text("ner"):find("aggregation_strategy", 1, true))
  t.ok(help.text("windws"):find("windows", 1, true))
  t.ok(help.text(""):find("policies", 1, true))
end)

t.test("words that people bring along lead to what is there", function()
  for word, list in pairs(require "perilune.help.meanings") do
    t.equal(#help.find(word), 0, word .. " has a meaning of its own")
    local count = select(2, list:gsub("%S+", ""))
    t.equal(select(2, help.text(word):gsub("\n%S+.-%s%s%S", "")), count, help.text(word))
  end
  t.ok(help.text("vram"):find("Model:memory()", 1, true))
  t.ok(help.text("similarity"):find("cosines between one sentence and others", 1, true))
end)
