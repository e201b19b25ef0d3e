-- A batch knows its tokenizer; a model refuses a stranger's, by every way in.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local t = require "spec"

local golden = t.golden "llama-gqa"

-- A tokenizer of the same size and kind whose ordinary pieces changed places.
local function stranger(path)
  return pl.tokenizer(folder_of.copy(path, { ["tokenizer.model"] = folder_of.shuffled_pieces(core.read_file(path .. "/tokenizer.model")),
    ["tokenizer.json"] = false }))
end

local m = pl.load(golden, { compute = "f32" })
local other = stranger(golden)
local text = "the cat sat on the mat"

-- What takes a batch → a call with it and with options.
local ways = {
  forward = function(b, o) return m:forward(b, o) end,
  trace = function(b, o) return m:trace(b, "embeddings", o) end,
  embed = function(b, o) return m:embed(b, o) end,
  score = function(b, o) return m:score(b, o) end,
  generate = function(b, o) return m:generate(b, t.with({ max_new_tokens = 1 }, o)) end,
  stream = function(b, o) return m:stream(b, t.with({ max_new_tokens = 1 }, o)):result() end,
  submit = function(b, o)
    local e = pl.engine(m)
    local line = e:submit(b, t.with({ max_new_tokens = 1 }, o))
    e:drain()
    e:close()
    return line:result()
  end,
  ["submit to forward"] = function(b, o)
    local e = pl.engine(m)
    local line = e:submit(b, t.with({ kind = "forward" }, o))
    e:drain()
    e:close()
    return line:result()
  end,
  stage = function(b, o) return m:stage(o) { batch = b } end,
}

-- Batches that a stranger's tokenizer made, and what was made of them.
local foreign = {
  encoded = function() return other:encode(text) end,
  ["a list"] = function() return other:encode { text }:select { 1 } end,
  ["with ids"] = function() return pl.batch { { 1, 40 } }:concat(other:encode(text)):select { 2 } end,
  ["named by the caller"] = function() return pl.batch({ { 1, 40, 41 } }, { tokenizer = other }) end,
}

t.test("every call refuses a stranger's batch, naming both tokenizers and the remedy", function()
  for way, call in pairs(ways) do
    for what, make in pairs(foreign) do
      local fine, err = pcall(call, make(), {})
      t.equal(fine, false, way .. " took a batch: " .. what)
      t.equal(err.code, "pairing", way .. ", " .. what .. ": " .. tostring(err))
      for _, part in ipairs { other.path, m.tokenizer.path, "another tokenizer", "allow_foreign = true", "id " } do
        t.ok(tostring(err):find(part, 1, true), ("%s, %s: no %q in %s"):format(way, what, part, tostring(err)))
      end
      t.ok(pcall(call, make(), { allow_foreign = true }), way .. " with allow_foreign: " .. what)
    end
  end
end)

t.test("a padded view of a stranger's batch is a stranger's", function()
  t.raises_text(function() m:forward(other:encode { text, "a" }:padded()) end, "another tokenizer", other.path)
  t.ok(m:forward(other:encode { text, "a" }:padded(), { allow_foreign = true }).logits)
  t.ok(m:forward(m.tokenizer:encode { text, "a" }:padded()).logits)
end)

t.test("a model's own batches, those of an equal vocabulary and ids are taken", function()
  local again = pl.tokenizer(golden)
  local own = {
    own = m.tokenizer:encode(text), again = again:encode(text), ids = pl.batch { { 1, 40, 41 } },
    both = m.tokenizer:encode(text):concat(again:encode "a"), mixed = pl.batch { { 1, 2 } }:concat(again:encode "a"):select { 1 },
    padded = pl.batch_from_padded({ { 1, 40 } }, { { 1, 1 } }),
  }
  for what, b in pairs(own) do t.ok(m:forward(b).logits, what) end
  local one, two = pl.tokenizer(golden), pl.tokenizer(golden)
  one:add { "<here>" }
  t.ok(m:forward(pl.batch({ { 1, 40 } }, { tokenizer = one })).logits, "tokens added by a script are no other vocabulary")
  t.ok(one:same_vocabulary(two))
  two:add { "<there>" }
  t.equal(one:same_vocabulary(two), false)
  t.equal(m.tokenizer:same_vocabulary(other), false)
  t.ok(pl.load(golden, { tokenizer = false }):forward(other:encode(text)).logits, "a model without a tokenizer takes any")
end)

t.test("one vocabulary in several files is one; two versions of a family are not", function()
  local data = "../shared/data/tokenizers/"
  if not t.exists(data .. "gpt2/vocab.json") then t.skip "reference data missing" end
  for _, case in ipairs {
    { "gpt2", "gguf/ggml-vocab-gpt-2.gguf", true }, { "llama2/tokenizer.model", "llama2/tokenizer.json", true },
    { "llama2/tokenizer.model", "gguf/ggml-vocab-llama-spm.gguf", true }, { "t5-small/spiece.model", "t5-small/tokenizer.json", true },
    { "bert-base-uncased/vocab.txt", "all-minilm-l6-v2", true }, { "whisper/multilingual.tiktoken", "whisper", true },
    { "gpt2", "roberta-base", false }, { "bert-base-uncased", "bert-base-cased", false }, { "mistral/tokenizer.model.v1", "llama2", false },
    { "mistral/tokenizer.model.v1", "mistral/mistral_instruct_tokenizer_240323.model.v3", false },
  } do
    local a, b = pl.tokenizer(data .. case[1]), pl.tokenizer(data .. case[2])
    t.equal({ a:same_vocabulary(b), b:same_vocabulary(a) }, { case[3], case[3] }, case[1] .. " and " .. case[2])
  end
end)

t.test("concat refuses rows of two tokenizers", function()
  local a, b = m.tokenizer:encode(text), other:encode(text)
  local raised = t.raises_text(function() return a:concat(b) end, "concat", other.path, m.tokenizer.path, "allow_foreign = true")
  t.equal(raised.code, "pairing")
  local both = a:concat(b, { allow_foreign = true })
  t.equal({ both.size, both.tokenizer }, { 2, nil })
  t.ok(m:forward(both).logits, "what was joined on purpose is anybody's")
  t.equal(pl.batch { { 1 } }:concat(b).tokenizer ~= nil, true)
  t.raises_text(function() return a:concat(b, { alow_foreign = true }) end, "allow_foreign")
end)

t.test("an encoder-decoder asks of both sides", function()
  local bart = pl.load(t.golden "bart-plain", { compute = "f32" })
  local source = bart.tokenizer:encode "a b"
  t.ok(bart:forward(source, { decoder = bart.tokenizer:encode "a" }).logits)
  t.raises_text(function() bart:forward(source, { decoder = other:encode "a" }) end, "another tokenizer")
  t.raises_text(function() bart:forward(other:encode "a") end, "another tokenizer")
  t.ok(bart:forward(source, { decoder = other:encode "a", allow_foreign = true }).logits)
end)

t.test("remove the folders", folder_of.remove_all)
