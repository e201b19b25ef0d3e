-- Answers that keep to a grammar: whole texts of it, or beginnings where their length ends them, in every
-- way of asking; composed with the other options; refused with a place where the grammar is wrong.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local tales = "scripts/models/tales"
local m = pl.load(tales, { compute = "f32" })
local prompt = "Once upon a time"

-- Fails unless a result is a text of the grammar, or one that its length cut.
local function keeps(g, result, what)
  local whole = g:accepts(result.text)
  if result.finish_reason == "stop" then
    t.ok(whole, ("%s: %q ended and does not fit"):format(what, result.text))
  else
    t.equal(result.finish_reason, "length", what .. ": " .. tostring(result.error))
    t.ok(g:prefix(result.text), ("%s: %q begins nothing that fits"):format(what, result.text))
  end
end

local grammars = {
  { regex = " (cat|dog|bird)s? [a-z]{2,6}\\." },
  { regex = "[^a-z\\n]{3,}é+" },
  { regex = "(\\u{1F642}|\\u20ac|[\\u4e00-\\u9fff]){1,4}!" },
  { json_schema = '{"type":"object","properties":{"name":{"type":"string","maxLength":8},"age":{"type":"integer","minimum":0,"maximum":120}},"required":["name","age"]}' },
  { json_schema = { type = "array", items = { enum = { "a", "b" } }, minItems = 1, maxItems = 3 } },
  { gbnf = 'root ::= "(" (root | [a-z]+) ")"' },
  { choices = { " yes", " no", " maybe not", " maybe" } },
}

local ways = {
  { do_sample = false }, { do_sample = true, seed = 3 }, { do_sample = true, seed = 4, temperature = 2, top_k = 20, top_p = 0.9 },
  { do_sample = false, repetition_penalty = 1.3, no_repeat_ngram_size = 2 }, { do_sample = false, num_beams = 3 }, { do_sample = false, num_beams = 2, n = 2 },
  { do_sample = true, seed = 5, n = 3 }, { do_sample = true, seed = 6, min_new_tokens = 4 },
}

t.test("every way of choosing keeps to every grammar, at every length", function()
  for i, source in ipairs(grammars) do
    local g = pl.grammar(source)
    for j, way in ipairs(ways) do
      for _, length in ipairs { 1, 2, 3, 5, 24 } do
        local what = ("grammar %d, way %d, %d tokens"):format(i, j, length)
        local result = m:generate(prompt, t.with(way, { grammar = g, max_new_tokens = length, min_new_tokens = math.min(length, way.min_new_tokens or 0) }))
        t.equal(result.error, nil, what)
        for _, one in ipairs(result.sequences or { result }) do keeps(g, one, what) end
      end
    end
  end
end)

t.test("options that name a grammar are the same as one made before", function()
  local own = { do_sample = false, max_new_tokens = 16 }
  local g = pl.grammar { regex = " [A-Z][a-z]+" }
  t.equal(m:generate(prompt, t.with(own, { regex = " [A-Z][a-z]+" })).text, m:generate(prompt, t.with(own, { grammar = g })).text)
  local gbnf = m:generate(prompt, t.with(own, { grammar = 'root ::= " " [a-f]+ "!"' }))
  t.ok(gbnf.text:match "^ [a-f]+!?$", gbnf.text)
  local json = m:generate(prompt, t.with(own, { json_schema = '{"enum":[true,null]}' }))
  t.ok(json.text == "true" or json.text == "null", json.text)
  t.equal(json.finish_reason, "stop")
end)

t.test("a choice says which it was", function()
  local result = m:generate(prompt, { choices = { " no", " yes" }, do_sample = false })
  t.equal(({ " no", " yes" })[result.choice], result.text)
  t.equal(result.finish_reason, "stop")
  t.equal(m:generate(prompt, { choices = { " a long choice of words" }, max_new_tokens = 1, do_sample = false }).choice, nil)
  local several = m:generate(prompt, { choices = { " b", " a" }, do_sample = true, seed = 1, n = 4 })
  for _, one in ipairs(several.sequences) do t.equal(({ " b", " a" })[one.choice], one.text) end
end)

t.test("an end that the grammar allows alone needs no token of its own", function()
  local result = m:generate(prompt, { regex = " dog", do_sample = false })
  t.equal(result.text, " dog")
  t.equal(result.finish_reason, "stop")
  t.equal(#result.ids, #m.tokenizer:ids(" dog", { special = false }))
end)

t.test("streams say the same, and whole characters", function()
  for _, source in ipairs(grammars) do
    local own = { grammar = pl.grammar(source), do_sample = true, seed = 11, max_new_tokens = 9 }
    local stream, pieces = m:stream(prompt, own), {}
    for piece in stream do
      pieces[#pieces + 1] = piece
      t.ok(not piece:find "\239\191\189", "a cut character")
    end
    t.equal(table.concat(pieces), m:generate(prompt, own).text)
    keeps(own.grammar, stream:result(), "stream")
  end
end)

t.test("an answer is the same alone and among others, with and without grammars", function()
  local prompts = {}
  for i, source in ipairs(grammars) do
    prompts[#prompts + 1] = { prompt = prompt, grammar = pl.grammar(source), do_sample = true, seed = i, max_new_tokens = 12 }
    prompts[#prompts + 1] = { prompt = "The", do_sample = true, seed = i, max_new_tokens = 12 }
  end
  local together = m:generate(prompts)
  for i, one in ipairs(prompts) do t.equal(m:generate(one).ids, together[i].ids, "prompt " .. i) end
end)

t.test("a function of the script chooses among what fits, and cannot leave it", function()
  local id = m.tokenizer:ids(" the", { special = false })[1]
  local seen
  local result = m:generate(prompt, { regex = " (red|blue)", do_sample = false, processors = function(row)
    seen = seen or row:tolist()
    row:set(1e9, { vocab = id })
  end })
  t.ok(result.text == " red" or result.text == " blue", result.text)
  local open = 0
  for _, score in ipairs(seen) do if score > -math.huge then open = open + 1 end end
  t.ok(open > 0 and open < 20, open .. " tokens were open")
end)

t.test("a worker's engine, and requests that share a grammar", function()
  local g = pl.grammar { regex = " [a-z]{3}( [a-z]{3})*\\." }
  local engine = pl.engine(m, { worker = true })
  local lines = {}
  for i = 1, 6 do lines[i] = engine:submit(prompt, { grammar = g, do_sample = true, seed = i, max_new_tokens = 10 }) end
  engine:drain()
  for i, line in ipairs(lines) do
    keeps(g, line:result(), "line " .. i)
    t.equal(line:result().ids, m:generate(prompt, { grammar = g, do_sample = true, seed = i, max_new_tokens = 10 }).ids)
  end
  engine:close()
end)

t.test("an encoder-decoder's answer begins a text of its own", function()
  local model = pl.load("tests/golden/t5-relu-tied", { compute = "f32" })
  if not model.tokenizer then t.skip "no encoder-decoder with a tokenizer here" end
  local g = pl.grammar { regex = "[a-z ]{3,12}" }
  for _, own in ipairs { { do_sample = false }, { do_sample = false, num_beams = 2 }, { do_sample = true, seed = 2 } } do
    local result = model:generate("Once upon a time", t.with(own, { grammar = g, max_new_tokens = 8 }))
    t.equal(result.error, nil)
    keeps(g, result, "encoder-decoder")
  end
end)

t.test("what cannot be is said with its place", function()
  local function said(options, part)
    t.raises_text(function() m:generate(prompt, options) end, part)
  end
  said({ regex = "a(b" }, "regex: a parenthesis is not closed at position 2")
  said({ json_schema = '{"uniqueItems":true}' }, "keyword uniqueItems is supported for lists")
  said({ json_schema = { type = "strin" } }, 'there is no type "strin"')
  said({ grammar = "root ::= x" }, "no rule is called x at position 10")
  said({ choices = {} }, "choices: there are none")
  said({ choices = { "a", 1 } }, "expected texts, got 1")
  said({ choices = { "a", nil, "b" } }, "entry 2")
  said({ regex = "a", choices = { "b" } }, "contradict each other")
  said({ regex = "" }, "only the empty text fits")
  said({ regex = 1 }, "option regex: expected a string")
  t.raises_text(function() pl.grammar {} end, "there is nothing to make one of")
  t.raises_text(function() pl.grammar { regx = "a" } end, "regex")
  t.raises_text(function() pl.grammar { regex = "a", whitespace = "none" } end, "only JSON")
  local list = m:generate({ { prompt = prompt, regex = "a(b" }, prompt }, { max_new_tokens = 2 })
  t.ok(list[1].error and list[2].finish_reason == "length")
end)

t.test("the members of a table stand as required names them, then by name", function()
  local g = pl.grammar { json_schema = { type = "object", properties = { b = { const = 1 }, a = { const = 2 }, c = { const = 3 } }, required = { "c", "a" } } }
  t.ok(g:accepts '{"c": 3, "a": 2, "b": 1}')
  t.ok(not g:prefix '{"a"')
  local read = pl.json.decode('{"properties":{"b":{"const":1},"a":{"const":2}},"required":["a"]}', { order = true })
  t.ok(pl.grammar { json_schema = read }:accepts '{"b":1,"a":2}')
end)

t.test("white space of JSON", function()
  local schema = '{"type":"object","properties":{"a":{"type":"array","items":{"type":"null"}}},"required":["a"]}'
  local loose, tight = pl.grammar { json_schema = schema }, pl.grammar { json_schema = schema, whitespace = "none" }
  for _, text in ipairs { '{"a":[null,null]}', '{ "a": [null, null] }', '{\n  "a": [\n    null,\n    null\n  ]\n}' } do t.ok(loose:accepts(text), text) end
  t.ok(tight:accepts '{"a":[null,null]}')
  t.ok(not tight:prefix '{ "a"')
end)

-- The bytes of tokens, end to end, are the text that they decode to.
local texts = { "Hello, world! It's 12.5 below.", "  two  spaces\n\ttab", "naïve café – 日本語 🙂", "{\"a\": [1, 2]}" }
local tokenizers = { tales, "scripts/models/reviews" }
for _, name in ipairs(core.list_directory "tests/golden") do tokenizers[#tokenizers + 1] = "tests/golden/" .. name end
for _, name in ipairs { "qwen", "phi-2", "llama3", "llama2", "whisper", "clip", "t5-small", "gpt2", "roberta-base", "bert-base-uncased" } do
  local path = "../shared/data/tokenizers/" .. name
  if t.exists(path) then tokenizers[#tokenizers + 1] = path end
end
t.test("the bytes of tokens are what decode makes of them", function()
  local looked = 0
  for _, path in ipairs(tokenizers) do
    local fine, tok = pcall(pl.tokenizer, path)
    if fine and tok then
      looked = looked + 1
      local bytes = core.token_bytes(tok, true)
      for _, text in ipairs(texts) do
        local ids = tok:ids(text, { special = false })
        local decoder, decoded = tok:decoder { continues = true }, ""
        for _, id in ipairs(ids) do decoded = decoded .. decoder:push(id) end
        decoded = decoded .. decoder:flush()
        local known = true
        for _, id in ipairs(ids) do known = known and id ~= tok.specials.unk end
        if known then t.equal(bytes:text(ids), decoded, path .. " " .. text) end
      end
    end
  end
  t.ok(looked >= 2)
end)
