-- p:each over a long iterator: memory stays bounded, order is kept, an item that fails leaves the others
-- alone, and progress is shown on a terminal only. For pipelines of tasks and of stages.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local reviews = "scripts/models/reviews"
local clf = pl.pipeline("text-classification", reviews, { top_k = "all" })
local tok = clf.tokenizer
local chain = pl.pipeline { tok:stage {}, clf.model:stage {}, function(row) return { row.logits:argmax("class"):item(), row.text } end }

-- Texts of many lengths, made when they are asked for. `asked`: how many were.
local function source(count, make)
  local state = { asked = 0 }
  return function()
    if state.asked == count then return nil end
    state.asked = state.asked + 1
    return make(state.asked)
  end, state
end

local function text_of(i) return ("fine "):rep(i * 7 % 23) .. "book " .. i end

t.test("inputs are taken a window at a time, and let go again", function()
  for _, case in ipairs { { clf, 32, { window = 32 } }, { clf, 1, { window = 1 } }, { chain, 1 } } do
    local p, window = case[1], case[2]
    local live, most, count = setmetatable({}, { __mode = "k" }), 0, window == 1 and 60 or 320
    local items, state = source(count, function(i)
      local input = { text = text_of(i) }
      live[input] = true
      return input
    end)
    local seen = 0
    for _, answer in p:each(items, case[3]) do
      seen = seen + 1
      live[answer] = true
      t.ok(state.asked - seen < window, ("%d were taken when %d were answered"):format(state.asked, seen))
      if seen % 16 == 0 then
        collectgarbage()
        local n = 0
        for _ in pairs(live) do n = n + 1 end
        most = math.max(most, n)
      end
    end
    t.equal(seen, count)
    t.ok(most <= 2 * window + 4, ("%d inputs and answers were alive"):format(most))
  end
end)

t.test("memory does not grow with the file", function()
  local function bytes()
    collectgarbage()
    collectgarbage()
    return core.memory().used, collectgarbage "count" * 1024
  end
  local early, late
  local items = source(1200, text_of)
  local seen = 0
  for _ in clf:each(items, { window = 64 }) do
    seen = seen + 1
    if seen == 200 then early = { bytes() } end
    if seen == 1150 then late = { bytes() } end
  end
  t.equal(seen, 1200)
  t.ok(late[1] <= early[1] + 65536, ("tensors: %d bytes, then %d"):format(early[1], late[1]))
  t.ok(late[2] <= early[2] + 65536, ("Lua: %d bytes, then %d"):format(early[2], late[2]))
end)

-- Runs last what came first, a few at a time: answers must come in the order of the inputs all the same.
local function backwards(queue)
  local plan = {}
  for i = #queue, math.max(1, #queue - 2), -1 do plan[#plan + 1] = queue[i] end
  return plan
end

t.test("answers come in the order of the inputs, whatever ran first", function()
  local alone = {}
  for i = 1, 50 do alone[i] = clf(text_of(i)) end
  for _, policy in ipairs { backwards, pl.policy.buckets { 8, 16 }, pl.policy.fifo() } do
    local items = source(50, text_of)
    local seen = 0
    for text, answer, err in clf:each(items, { policy = policy, window = 20 }) do
      seen = seen + 1
      t.equal({ text, answer, err }, { text_of(seen), alone[seen] })
    end
    t.equal(seen, 50)
  end
end)

t.test("the pipeline's own policy is each's default", function()
  local asked = 0
  local function counting(queue)
    asked = asked + 1
    return queue
  end
  local p = pl.pipeline("text-classification", clf.model, { policy = counting })
  for _ in p:each((source(5, text_of))) do t.ok(asked > 0) end
  local before, other = asked, 0
  for _ in p:each(source(5, text_of), { policy = function(queue) other = other + 1 return queue end }) do t.ok(other > 0) end
  t.equal(asked, before)
end)

-- Items that fail when they are read, when they are too long and when their answer is made.
local function mixed(i)
  if i % 10 == 3 then return 7 end
  if i % 10 == 5 then return ("word "):rep(600) end
  if i % 10 == 8 then return { txt = "a slip" } end
  return text_of(i)
end

t.test("an item that fails is an error of its own, the others have their answers", function()
  local wrong = { [3] = "expected a text", [5] = "positions", [8] = "expected a text" }
  for _, window in ipairs { 1, 4, 256 } do
    local items = source(40, mixed)
    local seen = 0
    for input, answer, err in clf:each(items, { window = window }) do
      seen = seen + 1
      local reason = wrong[seen % 10]
      t.equal(answer == nil, reason ~= nil)
      t.equal(err ~= nil, reason ~= nil)
      if reason then t.ok(tostring(err):find(reason, 1, true), tostring(err)) else t.equal(answer, clf(input)) end
    end
    t.equal(seen, 40)
  end
end)

t.test("a stage that fails is an error of that row alone", function()
  local broken = pl.pipeline { function(row)
    if row.text:find "3" then error("three is wrong", 0) end
    return { row.text:upper() }
  end }
  local seen, failed = 0, 0
  for input, row, err in broken:each((source(40, text_of))) do
    seen = seen + 1
    t.equal(input, text_of(seen))
    if err then
      failed = failed + 1
      t.ok(tostring(err):find "three is wrong" and row == nil)
    else
      t.equal(row, { input:upper() })
    end
  end
  t.equal({ seen, failed }, { 40, 13 })
end)

t.test("a model that fails in the middle of a window: NaN for one prompt, answers for the others", function()
  local m = pl.load(t.golden "gpt2-plain", { compute = "f32" })
  local texts = { "all of a", "school. Besides", "thus meditating about", "a month" }
  local fails = m.tokenizer:ids(texts[2])
  local function wreck(row, state)
    if #state.ids >= #fails and state.ids[1] == fails[1] and state.ids[2] == fails[2] then row:set(0 / 0) end
  end
  local p = pl.pipeline("text-generation", m, { max_new_tokens = 3, do_sample = false, eos_token_id = {}, processors = wreck })
  local seen = 0
  for text, answer, err in p:each((source(4, function(i) return texts[i] end))) do
    seen = seen + 1
    t.equal(text, texts[seen])
    if seen == 2 then
      t.equal(answer, nil)
      t.ok(tostring(err):find "NaN", tostring(err))
    else
      t.equal({ err, answer.ids }, { nil, m:generate(text, { max_new_tokens = 3, do_sample = false, eos_token_id = {} }).ids })
    end
  end
  t.equal(seen, 4)
end)

t.test("what is no item's fault ends the loop: a broken policy, an iterator's own error", function()
  t.raises_text(function() for _ in clf:each(source(5, text_of), { policy = function() error("no plan", 0) end }) do end end, "no plan")
  t.raises_text(function() for _ in clf:each(function() error("the file is gone", 0) end) do end end, "the file is gone")
  t.raises_text(function() clf:each "a" end, "expected an iterator or a list", "io.lines")
  t.raises_text(function() clf:each(source(1, text_of), { windw = 2 }) end, "window")
  for _ in clf:each(function() return nil end) do error "an empty iterator gave something" end
  t.equal((clf "fine")[1].label, (clf "fine")[1].label)   -- and the pipeline still works
end)

t.test("a list goes through each as an iterator does", function()
  local seen = {}
  for text, answer, err in clf:each({ "fine", 7, "bad" }, { window = 2 }) do seen[#seen + 1] = { text, answer and answer[1].label, err ~= nil } end
  t.equal(seen, { { "fine", (clf "fine")[1].label, false }, { 7, nil, true }, { "bad", (clf "bad")[1].label, false } })
end)

t.test("progress: on a terminal, on the side of errors, and not when it is not wanted", function()
  local program = os.getenv "PERILUNE" or arg and arg[-1]
  if not program or os.execute "command -v script > /dev/null 2>&1" ~= 0 then return t.skip "no program script to make a terminal with" end
  local base = os.tmpname()
  local function write(name, text) core.write_file(base .. name, text) end
  write(".lua", [[
    local pl = require "perilune"
    local clf = pl.pipeline("text-classification", "scripts/models/reviews")
    local n = 0
    local options = { window = 4 }
    if arg[1] == "quiet" then options.progress = false end
    for _, r in clf:each(function() n = n + 1 return n <= 10 and "fine " .. n or nil end, options) do print(r.label) end
  ]])
  local function run(how)
    os.execute(how .. " > /dev/null 2>&1 < /dev/null")
    local out, err = core.read_file(base .. ".out"), core.read_file(base .. ".err")
    write(".out", "") write(".err", "")
    return out, err
  end
  write(".out", "") write(".err", "")
  local command = ("%s %s.lua"):format(program, base)
  local piped, quiet_err = run(("sh -c '%s > %s.out 2> %s.err'"):format(command, base, base))
  local _, answers = piped:gsub("\n", "")
  t.equal({ answers, quiet_err }, { 10, "" })
  -- Standard error is a terminal, recorded in .err; standard output a file.
  local out, shown = run(("script -qec '%s > %s.out' %s.err"):format(command, base, base))
  t.equal(out, piped)
  t.ok(shown:find("text%-classification: 4 done") and shown:find("text%-classification: 10 done") and shown:find "/s", shown)
  t.ok(shown:find("\r", 1, true))
  local _, silent = run(("script -qec '%s quiet > %s.out' %s.err"):format(command, base, base))
  t.ok(not silent:find "%d done", silent)
  for _, name in ipairs { "", ".lua", ".out", ".err" } do os.remove(base .. name) end
end)
