-- What the Tab key offers.
local pl = require "perilune"
local completion = require "perilune.completion"
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

local function has(words, word)
  for _, one in ipairs(words) do if one == word then return true end end
  return false
end

t.test("globals and keywords", function()
  t.equal(complete "tosti", {})
  t.equal(complete "tostr", { "tostring" })
  t.equal(complete "fun", { "function" })
  t.equal(select(2, complete "print(tostr"), "print(tostring")
end)

t.test("fields of tables, functions of pl", function()
  t.equal(complete "r.al", { "alpha" })
  t.equal(complete "r.beta.", { "gamma" })
  t.equal(complete "r.", { "alpha", "beta" })
  t.equal(complete "pl.batch_", { "batch_from_padded" })
  t.equal(complete "pl.policy.fi", { "fifo" })
end)

t.test("methods of models, tensors and strings", function()
  t.equal(complete "m:gen", { "generate" })
  t.equal(complete "m.vocab", { "vocab_size" })
  t.equal(complete "x:softm", { "softmax" })
  t.equal(complete "x.dt", { "dtype" })
  t.ok(not has((complete "x."), "softmax"), "methods take a colon")
end)

t.test("option keys of the function that is called", function()
  t.equal(complete 'm:generate("x", { max_n', { "max_new_tokens" })
  t.equal(complete 'm:generate { prompt = "x", temp', { "temperature" })
  t.equal(complete 'pl.load("a", { comp', { "compute" })
  t.ok(has((complete 'm:forward("a", { '), "rows"))
  t.equal(complete 'm:generate("x", { seed = m', { "m", "math", "module" }, "a value is not a key")
end)

t.test("axes of the tensor", function()
  t.equal(complete "x:at{ hi", { "hidden" })
  t.equal(complete "x:at { token = 1, ", { "hidden", "token" })
end)

t.test("layer paths a component at a time", function()
  t.equal(complete 'm:trace({ 1 }, "lay', { "layers." })
  local words = complete 'm:trace({ 1 }, { "layers.'
  t.ok(has(words, "layers.0."), "a number")
  t.ok(has(words, "layers.*."), "any number")
  t.equal(complete 'm:trace({ 1 }, { "layers.*.attention.w', { "layers.*.attention.weights" })
end)

t.test("files", function()
  t.equal(complete 'pl.load "tests/lu', { "tests/lua/" })
  t.equal(complete ":load tests/lua/run_s", { "tests/lua/run_spec.lua" })
end)

t.test("commands, verbs and questions", function()
  t.equal(complete ":wh", { "whos" })
  t.equal(complete ":comp", { "compare" })
  t.equal(complete "?m:gen", { "generate" })
  t.equal(complete "?Tens", { "Tensor" })
  t.equal(complete "?Tensor:softm", { "softmax" })
end)

t.test("nothing where nothing is known", function()
  t.equal(complete "nothing_here.", {})
  t.equal(complete "f(", {})
  t.equal(complete "nil_value:x", {})
end)
