-- Pipelines: what each task answers, inputs one at a time and many, and what goes wrong.
local pl = require "perilune"
local core = require "perilune.core"
local compare_pipelines = require "perilune.compare.pipelines"
local t = require "spec"

local reviews = "scripts/models/reviews"

t.test("the published pipelines' answers", function()
  local file = "../shared/golden/text/pipelines.jsonl"
  if not core.file_exists(file) then return t.skip("no " .. file) end
  local check, rows = compare_pipelines.check "../shared/golden/models", 0
  for line in core.read_file(file):gmatch "[^\n]+" do
    local row = core.json(line, file)
    if row.task then
      rows = rows + 1
      t.equal(check(row), nil, ("row %d, %s with %s"):format(rows, row.task, row.model))
    end
  end
  t.ok(rows > 80)
end)

t.test("one, a list, an iterator: the same bits whatever the batch", function()
  local p = pl.pipeline("text-classification", reviews, { top_k = "all" })
  local texts = { "a lovely book", "dull", "I would read it again, and again, and again", "no", "the end is weak but the rest is fine" }
  local list = p(texts)
  for i, text in ipairs(texts) do t.equal(p(text), list[i]) end
  for _, window in ipairs { 1, 2, 256 } do
    local at = 0
    local function items()
      at = at + 1
      return texts[at]
    end
    local seen = 0
    local function one_at_a_time(queue) return { queue[1] } end
    for text, result, err in p:each(items, { window = window, policy = one_at_a_time }) do
      seen = seen + 1
      t.equal(text, texts[seen])
      t.equal(result, list[seen])
      t.equal(err, nil)
    end
    t.equal(seen, #texts)
  end
end)

t.test("one bad input leaves the others alone", function()
  local p = pl.pipeline("text-classification", reviews)
  local long = ("word "):rep(600)
  local out = p { "fine", long, "good" }
  t.ok(out[1].label and out[3].label)
  t.ok(out[2].error:find "positions" and out[2].error:find "truncate", out[2].error)
  t.raises_text(function() p(long) end, "positions", "truncate")
  t.ok(pl.pipeline("text-classification", reviews, { truncate = "model" })(long).label)
  t.raises_text(function() p(7) end, "expected a text")
end)

t.test("tasks, heads and options are checked", function()
  t.raises_text(function() pl.pipeline("text-clasification", reviews) end, "text-classification")
  t.raises_text(function() pl.pipeline("fill-mask", pl.load(reviews)) end, "masked")
  t.raises_text(function() pl.pipeline("text-classification", reviews, { topk = 3 }) end, "top_k")
  t.raises_text(function() pl.pipeline "text-classification" end, "model")
end)

t.test("question answering: where in the context, windows included", function()
  local m = pl.load(t.golden "distilbert-question", { compute = "f32" })
  local context = ("the carp, just in time, came to the festival at Kagurazaka. "):rep(3)
  local p = pl.pipeline("question-answering", m, { top_k = 3 })
  local answers = p { question = "who came?", context = context }
  t.equal(#answers, 3)
  for i, a in ipairs(answers) do
    t.equal(context:sub(a.first, a.last), a.answer)
    t.ok(i == 1 or a.score <= answers[i - 1].score)
  end
  local long = ("the carp, just in time, came to the festival at Kagurazaka. "):rep(30)
  t.raises_text(function() p { question = "who?", context = long } end, "stride")
  local windows = pl.pipeline("question-answering", m, { stride = 16 }) { question = "who?", context = long }
  t.equal(long:sub(windows.first, windows.last), windows.answer)
  t.raises_text(function() p "who?" end, "context")
end)

t.test("encoder-decoders: the same answer as generate", function()
  local m = pl.load(t.golden "t5-gated-untied", { compute = "f32" })
  local p = pl.pipeline("text2text-generation", m, { max_new_tokens = 8, num_beams = 2 })
  t.equal(p("the festival").ids, m:generate("the festival", { max_new_tokens = 8, num_beams = 2 }).ids)
  t.equal(pl.pipeline("summarization", m, { max_new_tokens = 4, prefix = "the " })("festival").ids,
    m:generate("the festival", { max_new_tokens = 4 }).ids)
  t.raises_text(function() pl.pipeline("translation", m, { source = "en", target = "de" }) end, "translation_en_to_de")
end)

t.test("stages compose", function()
  local m = pl.load(reviews)
  local chain = pl.pipeline { m.tokenizer:stage { truncate = "model" }, m:stage {}, function(row)
    return { best = row.logits:at { batch = 1 }:argmax("class"):item() }
  end }
  local one = chain "a lovely book"
  t.equal(one.best, m:forward("a lovely book").logits:at { batch = 1 }:argmax("class"):item())
  t.equal(chain { "a lovely book", "dull" }[1], one)
  t.raises_text(function() pl.pipeline { 5 } end, "stage 1")
  t.ok(pl.pipeline { function() error "broken" end } { "x" }[1].error:find "broken")
end)
