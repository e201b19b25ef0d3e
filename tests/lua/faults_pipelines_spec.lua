-- Words of token classification, and pieces of fill-mask, as published.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

t.test("spellings make the text that the published decoder makes (tests/faults/ask_join.py)", function()
  local tokenizers = {}
  for _, case in ipairs((core.read_json "tests/faults/join_answers.json").cases) do
    tokenizers[case.model] = tokenizers[case.model] or pl.tokenizer("tests/golden/" .. case.model)
    t.equal(tokenizers[case.model]:join(case.pieces), case.text, case.model)
  end
end)

t.test("an unknown word is the text's, wherever it stands", function()
  local m = pl.load("tests/golden/bert-token", { compute = "f32" })
  for _, strategy in ipairs { "none", "simple", "first", "average", "max" } do
    local p = pl.pipeline("token-classification", m, { aggregation_strategy = strategy, ignore_labels = {} })
    local found, unk = 0, m.tokenizer:piece(m.tokenizer.specials.unk)
    for _, entity in ipairs(p "\226\152\131 the \226\152\131") do
      t.ok(not entity.word:find(unk, 1, true), strategy .. ": " .. entity.word)
      if entity.word:find("\226\152\131", 1, true) then found = found + 1 end
    end
    t.ok(found > 0, strategy)
  end
  m:close()
end)

t.test("fill-mask: the piece of a special token is its spelling", function()
  local m = pl.load("tests/golden/bert-masked", { compute = "f32" })
  local tok = m.tokenizer
  local unk = tok:piece(tok.specials.unk)
  t.equal(pl.pipeline("fill-mask", m, { targets = { unk } })("the " .. tok:piece(tok.specials.mask))[1].piece, unk)
  m:close()
end)

t.test("zero-shot: labels as a text with commas are those of a list", function()
  local m = pl.load("tests/golden/bert-sequence", { compute = "f32" })
  local function ask(labels) return pl.pipeline("zero-shot-classification", m, { candidate_labels = labels })("the sea") end
  t.equal(ask " food, travel ,, the sea,", ask { "food", "travel", "the sea" })
  t.raises_text(function() ask " , " end, "candidate_labels")
  m:close()
end)

-- Answers, scores and places on the golden models, texts of many scripts and windows included.
local check = require("perilune.compare.pipelines").check "tests/golden"
local number = 0
for line in io.lines "tests/faults/pipeline_answers.jsonl" do
  local row = core.json(line)
  number = number + 1
  t.test(("%d: %s on %s (tests/faults/ask_pipelines.py)"):format(number, row.task, row.model), function()
    t.ok(row.output, row.error)
    local problem = check(row)
    t.ok(not problem, problem)
  end)
end
