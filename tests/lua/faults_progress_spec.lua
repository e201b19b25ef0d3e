-- Long work says how far it is, wherever it is done: every place that may take over two seconds, called as a
-- terminal's program calls it, with a terminal that waits for nothing. A call of one pass, one text or one file
-- is told of from within, by the loops that also see Ctrl-C.
local pl = require "perilune"
local core = require "perilune.core"
local progress = require "perilune.base.progress"
local t = require "spec"

local tales, reviews = "scripts/models/tales", "scripts/models/reviews"
local m, clf = pl.load(tales), pl.load(reviews)
local tok = m.tokenizer

local function folder()
  local path = os.tmpname()
  os.remove(path)
  return path
end

-- What a terminal shows while f runs; shown from the beginning.
local function shown(f)
  local lines = {}
  progress.on_terminal { write = function(text) lines[#lines + 1] = text end, after = 0, between = 0 }
  local fine, err = pcall(f)
  progress.off_terminal()
  if not fine then error(err, 0) end
  return lines
end

local function verb(name, options, arguments)
  return function()
    local print_ = print
    rawset(_G, "print", function() end)
    local fine, status = pcall(require("perilune.commands." .. name).run, options, arguments)
    rawset(_G, "print", print_)
    if not fine then error(status, 0) end
  end
end

local many = {}
for i = 1, 40 do many[i] = "text number " .. i .. (" and more"):rep(i % 5) end
local long_text = ("The old man sat by the sea. "):rep(3000)
local file = os.tmpname()
pl.files.remove(file)

-- { place, what is called, how its line begins }
local places = {
  { "pl.load", function() pl.load(tales):close() end, "load" },
  { "pl.load, quantize=", function() pl.load(tales, { quantize = "int4" }):close() end, "quantize" },
  { "m:quantize", function() m:quantize("int4"):close() end, "quantize" },
  { "m:save", function()
    local path = folder()
    m:save(path)
    pl.files.remove(path, { all = true })
  end, "save" },
  { "m:save, quantized", function()
    local path, q = folder(), m:quantize "int4"
    q:save(path)
    pl.files.remove(path, { all = true })
  end, "save" },
  { "pl.save", function() pl.save(file, { x = pl.zeros { 1000 } }) end, "save" },
  { "pl.check, probe", function() pl.check(m, nil, { probe = true }) end, "probe" },
  { "pl.lengths", function() pl.lengths(many, tok) end, "lengths" },
  { "m:embed", function() m:embed(many) end, "embed" },
  { "m:score", function() m:score(many) end, "score" },
  { "m:generate of a list", function() m:generate({ "a", "b" }, { max_new_tokens = 4 }) end, "generate" },
  { "m:generate of one", function() m:generate("a", { max_new_tokens = 4 }) end, "generate" },
  { "m:stream, its prompt", function() for _ in m:stream(("a "):rep(300), { max_new_tokens = 2 }) do end end, "prompt" },
  { "a pipeline of a list", function() pl.pipeline("text-classification", clf)(many) end, "text%-classification" },
  { "p:each", function() for _ in pl.pipeline("text-classification", clf):each(many) do end end, "text%-classification" },
  { "m:forward", function() m:forward(many) end, "decode" },
  { "m:forward, eager", function() m:eager():forward(many) end, "pass" },
  { "m:trace", function() m:trace("Once upon a time", "layers.*") end, "decode" },
  { "m:lens", function() m:lens "Once upon a time" end, "decode" },
  { "m:activations", function() m:activations "Once upon a time" end, "pass" },
  { "m:patch", function() m:patch { from = "Once upon a", into = "She was a", paths = "layers.*" } end, "patch" },
  { "m:quantization_report", function() m:quantize("int4"):quantization_report("Once upon a time there was.", { reference = m }) end,
    "quantization_report" },
  { "m:fingerprint", function() m:fingerprint() end, "fingerprint" },
  { "engine:drain", function()
    local e = pl.engine(m, {})
    for i = 1, 4 do e:submit(many[i], { max_new_tokens = 4 }) end
    e:drain()
    e:close()
  end, "de" },   -- a step's passes, or the steps
  { "pl.simulate", function() pl.simulate(pl.policy.fifo(), { 10, 20 }, { ms_per_step = 1 }) end, "simulate" },
  { "tok:encode", function() tok:encode(many) end, "encode", loops = true },
  { "tok:encode of a long text", function() tok:encode(long_text) end, "encode", loops = true },
  { "pl.json.decode", function() pl.json.decode("[" .. ("1,"):rep(40000) .. "1]") end, "json", loops = true },
  { "pl.json.encode", function() pl.json.encode(pl.zeros({ 3000 }):tolist()) end, "json", loops = true },
  { "pl.tensor of a table", function() pl.tensor(pl.zeros({ 5000 }):tolist()) end, "tensor", loops = true },
  { "t:tolist", function() pl.zeros({ 5000 }):tolist() end, "tolist", loops = true },
  { "pl.arange", function() pl.arange(5000) end, "arange", loops = true },
  { "pl.random", function() pl.random { 5000 } end, "random", loops = true },
  { "t:matmul", function() pl.zeros({ 600, 600 }, { axes = { "a", "b" } }):matmul(pl.zeros({ 600, 600 }, { axes = { "b", "c" } })) end, "matmul" },
  { "t:topk", function() pl.zeros({ 4000, 500 }, { axes = { "a", "b" } }):topk(3, "b") end, "topk" },
  { "t:copy", function() pl.zeros({ 3000, 3000 }, { axes = { "a", "b" } }):copy() end, "copy" },
  { "pl.zeros", function() pl.zeros { 5000, 5000 } end, "zeros" },
  { "a file's SHA-256, of models known by name", function() core.sha256(tales .. "/config.json", "load") end, "load" },
  { "perilune lock", verb("lock", { output = file, force = true }, { tales }), "locking" },
  { "perilune check --probe", verb("check", { probe = true, json = true }, { tales }), "probe" },
  { "perilune doctor", verb("doctor", { json = true }, { tales }), "doctor" },
  { "perilune bench", verb("bench", { json = true, threads = "1", repeats = 1, new = 2, prompt = 4 }, { tales }), "measuring" },
  { "perilune bench --modes", verb("bench", { json = true, modes = true, threads = "1", repeats = 1, new = 2, prompt = 4, tokens = 20 },
    { tales }), "measuring" },
  { "perilune run", verb("run", { max_new_tokens = 2, greedy = true }, { tales, "Once" }), "loading" },
  { "perilune compare", verb("compare", {}, { "tests/golden/gpt2-plain" }), "decode" },
}
if pl.try(core.sound_open, "nowhere", 16000, false) ~= nil or pl.sound then
  local path = file .. ".wav"
  places[#places + 1] = { "pl.sound.read", function()
    pl.sound.write(path, pl.zeros({ 8000 }, { axes = { "sample" } }))
    pl.sound.read(path)
    os.remove(path)
  end, "sound%.read" }
end

for _, case in ipairs(places) do
  t.test(case[1] .. " says how far it is", function()
    local lines, own = shown(case[2]), 0
    for _, line in ipairs(lines) do if line:find("^" .. case[3]) then own = own + 1 end end
    t.ok(own > 0, ('no line that begins with "%s" among %d: %s'):format(case[3], #lines, table.concat(lines, " | "):sub(1, 300)))
    t.equal(lines[#lines], "", "the line is taken away at the end")
  end)
end
os.remove(file)
os.remove(file .. ".wav")

t.test("nothing is shown of what is quick, nor where nobody asked", function()
  local lines = {}
  progress.on_terminal { write = function(text) lines[#lines + 1] = text end, after = 600 }   -- quick, on any machine
  m:forward(many)
  m:embed(many)
  progress.off_terminal()
  t.equal(lines, {})
  m:forward(many)
end)

t.test("a pass line by line is one call, not many short ones", function()
  local told = 0
  progress.on_terminal { write = function(text) if text ~= "" then told = told + 1 end end, after = 0.02, between = 0 }
  local hook = m:hook("layers.*", function() core.sleep(0.01) end)
  m:forward "Once upon a time"
  local within = told
  core.one_call(false)
  tok:encode "a"
  hook:remove()
  progress.off_terminal()
  t.ok(within > 0, "nothing was told of a pass that took long by its many lines")
  t.equal(told, within, "what comes after is quick")
end)

t.test("a call within a call clears the line before it may print, and the collector goes on", function()
  local lines = shown(function()
    local hook = m:hook("layers.0", function() end)
    m:forward "Once upon a time"
    hook:remove()
  end)
  local cleared = false
  for i = 1, #lines - 1 do cleared = cleared or lines[i] == "" end
  t.ok(cleared, table.concat(lines, "|"))
  local before = collectgarbage "count"
  for _ = 1, 200 do local _ = ("x"):rep(100000) .. math.random() end
  t.ok(collectgarbage "count" < before + 20000, "the collector stands still")
end)

t.test("a function that fails is no fault of the work", function()
  core.on_long_work(function() error "no" end, 0)
  local fine = pcall(m.forward, m, "Once upon a time")
  core.on_long_work(nil)
  t.ok(fine)
  t.raises(function() core.on_long_work(5) end, "expected a function, got 5")
end)
