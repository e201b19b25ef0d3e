-- Long documents: every encoder task reads all of them in windows, and what the windows say is joined as the
-- reference says; what is cut is told.
local pl = require "perilune"
local t = require "spec"

local function golden(name) return pl.load("tests/golden/" .. name, { compute = "f32" }) end

-- A text of several windows of a model.
local function long_for(m)
  local text = {}
  local words = { "the", "harbour", "of", "old", "man", "house", "near", "a", "river", "and", "good", "bad" }
  for i = 1, math.floor(2.5 * m.max_tokens) do text[i] = words[(i * 7 + math.floor(i / 5)) % #words + 1] end
  return table.concat(text, " ")
end

local function softmax(list)
  local most, sum, out = math.max(unpack(list)), 0, {}
  for i, x in ipairs(list) do out[i] = math.exp(x - most) sum = sum + out[i] end
  for i = 1, #out do out[i] = out[i] / sum end
  return out
end

local function by_label(list)
  local out = {}
  for _, one in ipairs(list) do out[one.label] = one.score end
  return out
end

t.test("classification: mean, max and vote of the windows' probabilities", function()
  local m = golden "bert-sequence"
  local text = long_for(m)
  local batch = m.tokenizer:encode(text, { truncate = { to = "model", windows = true, stride = 4 } })
  t.ok(batch.size > 2)
  local rows = {}
  for i = 1, batch.size do rows[i] = softmax(m:forward(batch:select { i }).logits:tolist()[1]) end
  local want = { mean = {}, max = {}, vote = {} }
  for k = 1, #rows[1] do
    local label = m:label(k - 1)
    want.mean[label], want.max[label], want.vote[label] = 0, 0, 0
    for _, row in ipairs(rows) do
      local best = true
      for j = 1, #row do best = best and (row[k] > row[j] or row[k] == row[j] and k <= j) end
      want.mean[label] = want.mean[label] + row[k] / #rows
      want.max[label] = math.max(want.max[label], row[k])
      want.vote[label] = want.vote[label] + (best and 1 / #rows or 0)
    end
  end
  for join, scores in pairs(want) do
    local got = by_label(pl.pipeline("text-classification", m, { stride = 4, join = join, top_k = "all" })(text))
    for label, score in pairs(scores) do t.near(got[label], score, 1e-6, join .. " " .. label) end
  end
  t.equal(by_label(pl.pipeline("text-classification", m, { truncate = { windows = true, stride = 4 }, top_k = "all" })(text)),
    by_label(pl.pipeline("text-classification", m, { stride = 4, top_k = "all" })(text)))
  -- A short text has one window: the answer without windows, whatever the join.
  for join in pairs(want) do
    local short = pl.pipeline("text-classification", m, { stride = 4, join = join })("the old house")
    if join ~= "vote" then t.equal(short, pl.pipeline("text-classification", m)("the old house"), join) end
  end
  m:close()
end)

t.test("names: each token once, its windows joined; the whole text is read", function()
  local m = golden "bert-token"
  local text = long_for(m)
  for _, join in ipairs { "mean", "max", "vote" } do
    local found = pl.pipeline("token-classification", m, { stride = 4, join = join, ignore_labels = {} })(text)
    local last = 0
    for _, one in ipairs(found) do
      t.ok(one.first > last, "in order, none twice")
      t.equal(one.text, text:sub(one.first, one.last))
      last = one.last
    end
    t.equal(last, #text, join)
  end
  -- Where windows do not overlap each token has one window: the scores of that window.
  local batch = m.tokenizer:encode(text, { truncate = { to = "model", windows = true, stride = 0 } })
  local want = {}
  for i = 1, batch.size do
    local row = batch:select { i }
    for k, logits in ipairs(m:forward(row).logits:tolist()) do
      local token = batch:row(i).tokens()[k]
      if token.first then want[#want + 1] = math.max(unpack(softmax(logits))) end
    end
  end
  local got = {}
  for i, one in ipairs(pl.pipeline("token-classification", m, { stride = 0, ignore_labels = {} })(text)) do got[i] = one.score end
  t.near(got, want, 1e-6)
  t.ok(#pl.pipeline("token-classification", m, { stride = 4, aggregation_strategy = "simple", ignore_labels = {} })(text) > 0, "as published")
  m:close()
end)

t.test("vectors: windows joined before they are normalized", function()
  local m = golden "bert-base"
  local text = long_for(m)
  local batch = m.tokenizer:encode(text, { truncate = { to = "model", windows = true, stride = 4 } })
  local rows = m:embed(batch, { normalize = false })
  t.equal(rows:size "batch", batch.size)
  for join, want in pairs { mean = rows:mean "batch", max = rows:max "batch" } do
    t.near(m:embed(text, { stride = 4, join = join, normalize = false }):tolist(), want:tolist(), 1e-6, join)
    local unit = (want / want:norm "hidden"):tolist()
    t.near(m:embed(text, { stride = 4, join = join, normalize = true }):tolist(), unit, 1e-6)
    t.near(pl.pipeline("feature-extraction", m, { stride = 4, join = join, normalize = true })(text):tolist(), unit, 1e-6)
  end
  local both = m:embed({ "the harbour", text }, { stride = 4 })
  t.equal(both:size "batch", 2)
  t.ok(both:at({ batch = 1 }):equal(m:embed "the harbour"), "what is in the list beside it changes nothing")
  t.ok(both:at({ batch = 2 }):equal(m:embed(text, { stride = 4 })))
  local cosines = pl.pipeline("sentence-similarity", m, { stride = 4 }) { source = text, sentences = { text, "the harbour" } }
  t.near(cosines[1], 1, 1e-5)
  m:close()
end)

t.test("masked words, answers and labels that nobody trained, in windows", function()
  local masked = golden "bert-masked"
  local mask = masked.tokenizer:piece(masked.tokenizer.specials.mask)
  local text = long_for(masked) .. " the " .. mask .. " house"
  local found = pl.pipeline("fill-mask", masked, { stride = 4, top_k = 3 })(text)
  t.equal(#found, 3)
  t.equal(found[1].text:find(mask, 1, true), nil)
  t.ok(#found[1].text > 0.9 * #text, "the whole text is given back")
  local short = "the " .. mask .. " house"
  t.equal(pl.pipeline("fill-mask", masked, { stride = 4 })(short), pl.pipeline("fill-mask", masked)(short))
  masked:close()
  local m = golden "bert-sequence"
  m.labels[0] = "entailment"
  local sorted = pl.pipeline("zero-shot-classification", m, { candidate_labels = { "food", "travel" }, stride = 4, join = "max" })(long_for(m))
  t.near(sorted.scores[1] + sorted.scores[2], 1, 1e-6)
  m:close()
  local question = golden "bert-question"
  local context = long_for(question)
  local answer = pl.pipeline("question-answering", question, { stride = 4 }) { question = "where?", context = context }
  t.equal(answer.answer, context:sub(answer.first, answer.last))
  question:close()
end)

t.test("a long text is an error that names both ways, and what is cut is told", function()
  for task, name in pairs { ["text-classification"] = "bert-sequence", ["token-classification"] = "bert-token", ["feature-extraction"] = "bert-base" } do
    local m = golden(name)
    local text = long_for(m)
    t.raises_text(function() pl.pipeline(task, m)(text) end, 'truncate="model"', "stride=n")
    local said = {}
    pl.on_warning(function(what) said[#said + 1] = what end)
    local results = pl.pipeline(task, m, { truncate = "model" }) { text, "the house", text }
    t.equal(#said, 1, task)
    t.ok(said[1]:find("2 of 3 inputs were cut", 1, true), said[1])
    if task ~= "feature-extraction" then
      t.ok(results[1].lost > 0 and results[2].lost == nil and results[3].lost == results[1].lost, task)
    else
      local _, lost = m:embed({ text, "the house" }, { truncate = "model" })
      t.ok(lost[1] > 0 and lost[2] == 0)
      local _, one = m:embed(text, { truncate = "model" })
      t.equal(one, lost[1])
    end
    pl.on_warning(nil)
    m:close()
  end
end)

t.test("many texts are read a part at a time, with the bits of one alone", function()
  local m = golden "bert-base"
  local texts, seen = {}, {}
  for i = 1, 3000 do texts[i] = ("the old house number %d near the harbour"):format(i) end
  local all = m:embed(texts, { on_progress = function(done, total) seen[#seen + 1] = done t.equal(total, 3000) end })
  t.ok(#seen > 2 and seen[#seen] == 3000, #seen .. " parts")
  for _, i in ipairs { 1, 700, 1501, 3000 } do t.ok(all:at({ batch = i }):equal(m:embed(texts[i])), "text " .. i) end
  m:close()
end)

t.test("names of axes are kept in files, and other readers are not disturbed", function()
  local path = os.tmpname()
  local a, b = pl.random({ 2, 3 }, { axes = { "batch", "hidden" } }), pl.arange(1, 4, { axes = { "n" } })
  pl.save(path, { a = a, b = b, ["odd name, with [brackets]"] = a })
  local file = pl.open(path)
  t.equal(tostring(file.a.shape), "[batch=2, hidden=3]")
  t.equal(tostring(file.b.shape), tostring(b.shape))
  t.equal(tostring(file["odd name, with [brackets]"].shape), "[batch=2, hidden=3]")
  t.ok((file.a - a):abs():max() == 0, "aligned by name")
  t.equal(type(file.metadata["axes.a"]), "string")
  -- A file of another program, and one whose note does not fit.
  t.equal(tostring(pl.open("tests/golden/gpt2-plain/model.safetensors")["transformer.ln_f.weight"].shape):match "^%[axis1=", "[axis1=")
  os.remove(path)
end)
