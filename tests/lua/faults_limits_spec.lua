-- Sizes, numbers and texts from scripts and files: what cannot be is refused in words and at once, what is long is
-- bounded, what is counted is counted right.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local m = pl.load("tests/golden/llama-gqa", { threads = 1 })

local function resident()
  local f = assert(io.open "/proc/self/statm")
  local _, pages = f:read("*n", "*n")
  f:close()
  return pages * 4096
end

-- Each asks for more than any machine that runs this has, or than makes sense: what, code, words of the error.
local batch = pl.batch { { 1, 2, 3 } }
local sizes = {
  { "arange", function() return pl.arange(2 ^ 38) end, "memory", "bytes asked" },
  { "arange in f32", function() return pl.arange(2 ^ 38, { dtype = "f32" }) end, "memory", "bytes asked" },
  { "arange beyond whole numbers", function() return pl.arange(1e300, 1e300 + 1e285, 1e284) end, "argument", "2^53" },
  { "zeros", function() return pl.zeros { 2 ^ 20, 2 ^ 19 } end, "memory", "bytes asked" },
  { "random", function() return pl.random { 2 ^ 39 } end, "memory", "bytes asked" },
  { "rows of a cache", function() return m:cache { rows = 1e8 } end, "memory", "100000000 rows" },
  { "a padded view", function() return pl.batch { { 1 }, { 2 }, { 3 } }:padded { to = 1e12 } end, "memory", "bytes asked" },
  { "a padded view's multiple", function() return batch:padded { multiple_of = 1e12 } end, "memory", "bytes asked" },
  { "a collated column", function()
    local records = {}
    for i = 1, 200 do records[i] = { ids = { i } } end
    return pl.collate(records, { ids = "pad" }, { to = 1e9 })
  end, nil, "" },
  { "bars", function() return pl.arange(9):hist { bins = 1e9 } end, "option", "1000000000" },
  { "the width of bars", function() return pl.arange(9):hist { width = 1e9 } end, "option", "1000000000" },
  { "tokens of a prompt to simulate", function() return pl.simulate(pl.policy.fifo(), { 1e9 }, { ms_per_step = 1 }) end, "argument", "1000000000" },
  { "outputs", function() return m:generate({ 3 }, { max_new_tokens = 1, n = 1e6, do_sample = true }) end, "option", "1000000" },
  { "beams", function() return m:generate({ 3 }, { max_new_tokens = 1, num_beams = 1e6 }) end, "option", "1000000" },
  { "sequences", function() return m:generate({ 3 }, { max_new_tokens = 1, num_return_sequences = 1e6, do_sample = true }) end, "option", "1000000" },
}

for _, case in ipairs(sizes) do
  local what, ask, code, words = case[1], case[2], case[3], case[4]
  t.test("refused at once, and nothing is taken for it: " .. what, function()
    collectgarbage()
    local from, memory = os.clock(), resident()
    local fine, err = pcall(ask)
    t.ok(not fine, "it was not refused")
    t.ok(type(err) == "table", tostring(err))
    if code then t.equal(err.code, code, err.message) end
    t.ok(err.message:find(words, 1, true), err.message)
    t.ok(os.clock() - from < 2, "seconds of the processor: " .. os.clock() - from)
    t.ok(resident() - memory < 2 ^ 28, "bytes: " .. resident() - memory)
  end)
end

t.test("as many answers and beams as there may be run, in one step each", function()
  local many = m:generate({ 3 }, { max_new_tokens = 2, min_new_tokens = 2, n = 1024, do_sample = true })
  t.equal({ many.finish_reason, #many.sequences, #many.sequences[1024].ids }, { "length", 1024, 2 })
  t.equal(m:generate({ 3 }, { max_new_tokens = 3, num_beams = 600 }).finish_reason, "length")
end)

t.test("what pl.collate pads is charged and right on both sides", function()
  local records = { { ids = { 1, 2, 3 }, score = { 0.5 } }, { ids = { 4 }, score = {} } }
  local right = pl.collate(records, { ids = "pad", score = { pad = -1, dtype = "f32" } }, { to = 4, pad_id = 9 })
  t.equal(right.ids:tolist(), { { 1, 2, 3, 9 }, { 4, 9, 9, 9 } })
  t.equal(right.mask:tolist(), { { 1, 1, 1, 0 }, { 1, 0, 0, 0 } })
  t.equal(right.score:tolist(), { { 0.5, -1, -1, -1 }, { -1, -1, -1, -1 } })
  local left = pl.collate(records, { ids = "pad" }, { side = "left", pad_id = 9 })
  t.equal(left.ids:tolist(), { { 1, 2, 3 }, { 9, 9, 4 } })
  t.equal(left.mask:tolist(), { { 1, 1, 1 }, { 0, 0, 1 } })
end)

-- f32 counts no further than 2^24.
local many = 2 ^ 24 + 2 ^ 20
local ones = pl.ones({ many }, { axes = { "x" } })
local sums = {
  { "sum", function() return ones:sum() end, many },
  { "mean", function() return ones:mean() end, 1 },
  { "norm", function() return ones:norm() ^ 2 end, many },
  { "cumsum", function() return ones:cumsum("x"):at { x = -1 }:item() end, many },
  { "sum over an inner axis", function() return ones:split_axis("x", { "a", "b" }, { a = 1, b = many }):sum("b"):at { a = 1 }:item() end, many },
  { "sum of bf16", function() return ones:to "bf16":sum() end, many },
  { "sum of whole numbers", function() return ones:to "i64":sum() end, many },
}
for _, case in ipairs(sums) do
  t.test("more than 2^24 ones: " .. case[1], function()
    local got = case[2]()
    if type(got) == "userdata" then got = got:item() end
    t.near(got, case[3], case[3] * 1e-6)
  end)
end

t.test("more than 2^24 ones: softmax", function()
  local got = ones:softmax "x"
  t.near(got:sum(), 1, 1e-4)
  t.near(got:at { x = 1 }:item() * many, 1, 1e-4)
end)

t.test("more than 2^24 ones: a matrix product says that it cannot", function()
  t.raises_text(function() return ones:matmul(ones, { over = "x" }) end, "matmul", "x", "f32 sum")
end)

-- Texts from outside may be of any length; a message may not.
local long = ("x"):rep(10 * 2 ^ 20)
local messages = {
  { "an unknown option", function() return m:generate({ 3 }, { [long] = 1 }) end },
  { "an unknown name", function() return pl[long] end },
  { "a path", function() return pl.load(long) end },
  { "a file", function() return pl.open(long) end },
  { "an axis", function() return pl.ones { 2 }:sum(long) end },
  { "a dtype", function() return pl.ones({ 2 }, { dtype = long }) end },
  { "a device", function() return pl.load("tests/golden/llama-gqa", { device = long }) end },
  { "a choice", function() return pl.load("tests/golden/llama-gqa", { compute = long }) end },
  { "a list of names", function() return pl.ones { 2 }:order(long, long .. "y") end },
  { "a template", function() return m.tokenizer:chat({ { role = "user", content = "x" } }, { template = "{{ " .. long .. "( }}" }) end },
  { "JSON", function() return core.json('{"' .. long .. '": ]', "text") end },
  { "a policy's words", function()
    local e = pl.engine(m, { policy = function() return { layout = long } end })
    e:submit({ 3 }, { max_new_tokens = 1 })
    return e:step()
  end },
}
for _, case in ipairs(messages) do
  t.test("a message has a bounded length: " .. case[1], function()
    local fine, err = pcall(case[2])
    t.ok(not fine, "no error")
    t.ok(#tostring(err) < 50000, #tostring(err))
  end)
end

t.test("a damaged file's warnings are bounded, and say how many are left out", function()
  local warned, longest = 0, 0
  core.on_warning(function(text) warned, longest = warned + 1, math.max(longest, #text) end)
  local folder = os.tmpname()
  os.remove(folder)
  core.make_directory(folder, "test")
  for _, name in ipairs(core.list_directory "tests/golden/llama-gqa") do
    if not name:find "^expected" then core.write_file(folder .. "/" .. name, core.read_file("tests/golden/llama-gqa/" .. name)) end
  end
  local odd = {}
  for i = 1, 5000 do odd[i] = ('"odd_key_%d_%s":1,'):format(i, i == 1 and ("x"):rep(1e5) or "") end
  local config = core.read_file(folder .. "/config.json"):gsub("{", function(c) return c .. table.concat(odd) end, 1)
  core.write_file(folder .. "/config.json", config)
  local own = pl.load(folder, { threads = 1, tokenizer = false })
  core.on_warning(nil)
  t.ok(warned > 10 and warned <= 101, warned)
  t.ok(longest < 5000, longest)
  t.ok(own.warnings[#own.warnings]:find "more warnings", own.warnings[#own.warnings])
end)

t.test("Lua's own lack of memory has a code", function()
  local _, err = pl.try(error, "not enough memory", 0)
  t.equal(err.code, "memory")
end)
