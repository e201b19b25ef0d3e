-- What strangers write who have read the README and the guide: mistakes that were answered in silence, by a raw error
-- of Lua, or without saying what to do. { what, call, words that the error holds… }
local pl = require "perilune"
local t = require "spec"

local m, reviews = pl.load "scripts/models/tales", "scripts/models/reviews"
local tok, clf = m.tokenizer, pl.pipeline("text-classification", reviews)
local chain = pl.pipeline { tok:stage {}, m:stage {} }
local absent = nil   -- a value that a script expects to be there: { "a", absent, "b" } has a hole

local cases = {
  -- What follows a hole was lost in silence.
  { "a hole in prompts", function() return m:generate({ "a", absent, "b" }, { max_new_tokens = 1 }) end, "hole", "entry 2", "leave it out" },
  { "a hole in texts to embed", function() return m:embed { "a", absent, "b" } end, "hole", "entry 2" },
  { "a hole in texts to score", function() return m:score { "a", absent, "b" } end, "hole", "entry 2" },
  { "a hole in choices", function() return m:score("a", { "b", absent, "c" }) end, "hole", "entry 2" },
  { "a hole in texts to encode", function() return tok:encode { "a", absent, "b" } end, "hole", "entry 2" },
  { "a hole in rows to decode", function() return tok:decode { { 1 }, absent, { 2 } } end, "hole", "entry 2" },
  { "a hole in rows of ids", function() return m:forward { { 1 }, absent, { 2 } } end, "hole", "entry 2" },
  { "a hole in lengths", function() return pl.lengths({ "a", absent, "b" }, tok) end, "hole", "entry 2" },
  { "a hole in a pipeline's inputs", function() return clf { "a", absent, "b" } end, "hole", "entry 2" },
  { "a hole in what each goes through", function() return clf:each { "a", absent, "b" } end, "hole", "entry 2" },
  { "a hole in rows of a chain", function() return chain { { text = "a" }, absent, { text = "b" } } end, "hole", "entry 2" },
  { "a hole in paths", function() return m:trace("a", { "layers.1", absent, "layers.2" }) end, "hole", "entry 2" },
  { "a hole in work", function() return pl.simulate(pl.policy.fifo(), { 3, absent, 4 }, { ms_per_step = 1 }) end, "hole", "entry 2" },
  { "a hole in models", function() return pl.engine { m, absent, m } end, "hole", "entry 2" },
  -- A message's text under another name was left out of the prompt.
  { "text for content", function() return tok:chat({ { role = "user", text = "hi" } }, { template = "{{ messages[0].content }}" }) end,
    "`content` is missing", "did you mean content for text?" },
  { "value for content", function() return tok:chat({ { role = "user", value = "hi" } }, { template = "{{ messages[0].content }}" }) end,
    "did you mean content for value?" },
  { "tools as a word", function() return tok:chat({ { role = "user", content = "hi" } }, { template = "{{ tools }}", tools = "f" }) end,
    "option tools", 'got "f"' },
  -- Raw errors and missing hints.
  { "a pipeline's method", function() return clf:predict "x" end, 'no field or method "predict"', "p:each" },
  { "a policy by its name", function() return pl.engine(m, { policy = "fifo" }) end, "option policy", "pl.policy.fifo()" },
  { "a policy's constructor", function() return pl.engine(m, { policy = pl.policy.fifo }) end, "pl.policy.fifo makes a policy", "parentheses" },
  { "the same for generate", function() return m:generate("x", { policy = pl.policy.buckets }) end, "pl.policy.buckets()", "parentheses" },
  { "truncate as a switch", function() return pl.pipeline("text-classification", clf.model, { truncate = true }) end, 'truncate = "model"' },
  { "a model's settings for the model", function() return pl.load "scripts/models/tales/config.json" end, "one file of a model", "scripts/models/tales" },
  { "a model's weights for the model", function() return pl.load "scripts/models/tales/model.safetensors" end, "load the folder" },
  { "load with a colon", function() return pl:load "scripts/models/tales" end, "pl.load(path)" },
  { "a tokenizer with a colon", function() return pl:tokenizer "scripts/models/tales" end, "pl.tokenizer(path)" },
  { "lengths with a model", function() return pl.lengths({ "a" }, m) end, "got Model", "m.tokenizer" },
  { "lengths with a path", function() return pl.lengths({ "a" }, reviews) end, "pl.tokenizer(path)" },
  { "a schema's type misspelled", function() return m:generate("a", { json_schema = { type = "objekt" } }) end, 'did you mean "object"?' },
  { "a schema's keyword misspelled", function() return m:generate("a", { json_schema = { type = "object", propertys = {} } }) end,
    'did you mean "properties"?' },
  { "window for windows", function() return tok:encode("a b c", { truncate = { to = 2, window = true } }) end, 'did you mean "windows"?' },
}

for _, case in ipairs(cases) do
  t.test(case[1], function()
    local fine, err = pcall(case[2])
    t.ok(not fine, "nothing was said")
    t.equal(type(err), "table", "raw: " .. tostring(err))
    for i = 3, #case do t.ok(tostring(err):find(case[i], 1, true), ("no %q in: %s"):format(case[i], tostring(err))) end
  end)
end

t.test("what these rules leave alone", function()
  t.equal(#m:generate({ "a", "b" }, { max_new_tokens = 1 }), 2)
  t.equal(tok:chat({ { role = "assistant", tool_calls = { { name = "f" } } } }, { template = "{{ messages[0].role }}" }), "assistant")
  t.equal(tok:chat({ { role = "user", content = "a", text = "b" } }, { template = "{{ messages[0].text }}" }), "b")
  t.equal(tok:chat({ { role = "user", content = "a" } }, { template = "{{ tools | length }}", tools = '[{"name": "f"}]' }), "1")
  t.equal(clf.tokenizer, clf.model.tokenizer)
  t.equal(#clf {}, 0)
end)
