-- What the Tab key offers.
local pl = require "perilune"
local completion = require "perilune.session.completion"
local t = require "spec"

_G.pl = pl
_G.m = pl.load(t.golden "llama-gqa", { compute = "f32" })
_G.x = pl.zeros({ 2, 3 }, { axes = { "token", "hidden" } })
_G.r = { alpha = 1, beta = { gamma = 2 }, hidden_ = 3 }

-- The words offered, and what the line becomes with the first one.
local function complete(text)
  local start, words = completion.complete(text, {})
  return words, words[1] and text:sub(1, start - 1) .. words[1]
end

-- Each line and the words offered at its end.
local function offers(lines)
  for line, words in pairs(lines) do t.equal((complete(line)), words, line) end
end

local function has(words, word)
  for _, one in ipairs(words) do if one == word then return true end end
  return false
end

t.test("globals and keywords", function()
  offers {
    ["tosti"] = {},
    ["tostr"] = { "tostring" },
    ["fun"] = { "function" },
  }
  t.equal(select(2, complete "print(tostr"), "print(tostring")
end)

t.test("fields of tables, functions of pl", function()
  offers {
    ["r.al"] = { "alpha" },
    ["r.beta."] = { "gamma" },
    ["r."] = { "alpha", "beta" },
    ["pl.batch_"] = { "batch_from_padded" },
    ["pl.policy.fi"] = { "fifo", "fill" },
  }
end)

t.test("methods of models, tensors and strings", function()
  offers {
    ["m:gen"] = { "generate" },
    ["m.vocab"] = { "vocab_size" },
    ["x:softm"] = { "softmax" },
    ["x.dt"] = { "dtype" },
  }
  t.ok(not has((complete "x."), "softmax"), "methods take a colon")
end)

t.test("option keys of the function that is called", function()
  offers {
    ['m:generate("x", { max_n'] = { "max_new_tokens" },
    ['m:generate { prompt = "x", temp'] = { "temperature" },
    ['pl.load("a", { comp'] = { "compute" },
  }
  t.ok(has((complete 'm:forward("a", { '), "rows"))
  t.equal(complete 'm:generate("x", { seed = m', { "m", "math", "module" }, "a value is not a key")
end)

t.test("axes of the tensor", function()
  offers {
    ["x:at{ hi"] = { "hidden" },
    ["x:at { token = 1, "] = { "hidden", "token" },
  }
end)

t.test("layer paths a component at a time", function()
  t.equal(complete 'm:trace({ 1 }, "lay', { "layers." })
  local words = complete 'm:trace({ 1 }, { "layers.'
  t.ok(has(words, "layers.0."), "a number")
  t.ok(has(words, "layers.*."), "any number")
  t.equal(complete 'm:trace({ 1 }, { "layers.*.attention.w', { "layers.*.attention.weights" })
end)

t.test("files", function()
  offers {
    ['pl.load "tests/lu'] = { "tests/lua/" },
    [":load tests/lua/run_s"] = { "tests/lua/run_spec.lua" },
  }
end)

t.test("commands, verbs and questions", function()
  offers {
    [":wh"] = { "where", "whos" },
    [":comp"] = { "compare" },
    ["?m:gen"] = { "generate" },
    ["?Tens"] = { "Tensor" },
    ["?Tensor:softm"] = { "softmax" },
  }
end)

t.test("nothing where nothing is known", function()
  offers {
    ["nothing_here."] = {},
    ["f("] = {},
    ["nil_value:x"] = {},
  }
end)

t.test("values of options, devices, known models, tasks, axes as strings", function()
  offers {
    ['pl.load("x", { compute = "b'] = { "bf16" },
    ['pl.load("x", { device = "cp'] = { "cpu" },
    ['m:generate("x", { context = "tr'] = { "truncate_left" },
    ['pl.load "smo'] = { "smollm2" },
    ['pl.load("smo'] = { "smollm2" },
    ['pl.pipeline("question-'] = { "question-answering" },
    ['pl.pipeline("fill-mask", "minil'] = { "minilm" },
    ['x:softmax "hid'] = { "hidden" },
    ['x:sum("tok'] = { "token" },
    ['x:order("token", "hi'] = { "hidden" },
  }
end)

t.test("results of calls, without running them", function()
  offers {
    ['m:forward({ 1, 2 }).log'] = { "logits" },
    ['pl.load("x"):gener'] = { "generate" },
    ['pl.load "x" :gener'] = { "generate" },
    ['pl.zeros({ 2 }, { axes = { "a" } }):softm'] = { "softmax" },
    ['y = m.tokenizer:enco'] = { "encode" },
    ['print(m:generate { prompt = "x" }.finish'] = { "finish_reason" },
  }
end)

t.test("verbs: options, models; commands: what they take", function()
  offers {
    [":bench --thr"] = { "--threads" },
    [":get smo"] = { "smollm2" },
    [":check tests/lu"] = { "tests/lua/" },
    [":save tests/lua/run_s"] = { "tests/lua/run_spec.lua" },
    [":time pl.clo"] = { "clock" },
    [":help m:gen"] = { "generate" },
    ["?mas"] = { "masks" },
  }
end)

t.test("the names of a stop", function()
  local session = { scopes = { { get = function(name) return name == "hidden_state", rawget(_G, "x") end, names = function() return { "hidden_state" } end } } }
  t.equal(select(2, completion.complete("hidden_s", session)), { "hidden_state" })
  t.equal(select(2, completion.complete("hidden_state:softm", session)), { "softmax" })
  t.equal(select(2, completion.complete('hidden_state:softmax "hi', session)), { "hidden" })
end)

t.test("words that belong to what is called: paths of a trace, weights, types, options of a task, arguments of commands", function()
  _G.tr = _G.m:trace({ 1, 2 }, { "layers.0", "layers.1" })
  offers {
    ['tr["lay'] = { "layers.0", "layers.1" },
    ['m:weight("layers.0.self_attn.k'] = { "layers.0.self_attn.k_proj.weight" },
    ['m:quantize "int8'] = { "int8", "int8-weight" },
    ['x:to "f'] = { "f16", "f32" },
    ["m:forward({ 1 }).logits:softm"] = { "softmax" },
    ['pl.pipeline("fill-mask", m, { tar'] = { "targets" },
    ['m:debug("x", { gen'] = { "generate" },
  }
  t.equal(select(2, completion.complete(":break layers.1.ml", { initial = {} })), { "layers.1.mlp" })
  t.ok(has((complete ":queue policy f"), "fifo"))
  t.ok(has((complete ":queue st"), "step"))
end)
