-- Guesses of the tokens ahead change no answer: prompt lookup and draft models, greedy and drawn, with
-- everything that looks at a token; and they bring several tokens a pass.
-- PERILUNE_DRAFTED sets how many random prompts there are (default 40; a campaign takes 500).
local pl = require "perilune"
local t = require "spec"

local count = tonumber(os.getenv "PERILUNE_DRAFTED") or 40
local rows = require "rows_of"
local load, answer, random = rows.load, rows.answer, rows.random(977)

-- Few ids, now and then a stretch again: something to look up.
local function prompt_of(m, n)
  local row = {}
  while #row < n do
    if #row > 6 and random(3) == 1 then
      local from = random(#row - 3)
      for i = from, math.min(from + 5, #row) do row[#row + 1] = row[i] end
    else
      row[#row + 1] = random(math.min(m.vocab_size, 90) - 6) + 5
    end
  end
  return row
end

local kinds = {
  function() return { do_sample = false } end,
  function() return { do_sample = false, logprobs = 2, repetition_penalty = 1.2 } end,
  function() return { do_sample = true, seed = random(1000), temperature = 0.4, logprobs = 0 } end,
  function() return { do_sample = true, seed = random(1000), top_k = 3, top_p = 0.9 } end,
  function() return { do_sample = true, seed = random(1000), n = 2, temperature = 0.5 } end,
  function() return { do_sample = false, no_repeat_ngram_size = 3 } end,
  function() return { do_sample = false, use_cache = random(2) == 1 } end,
  function() return { do_sample = true, seed = random(1000), mirostat = 2, mirostat_tau = 2, mirostat_eta = 0.5, n = random(2) } end,
}

for _, name in ipairs { "llama-gqa", "llama-rope3-bf16", "gpt2-plain", "gpt_neox-parallel", "phi-partial-rotary", "phi3-fused-qkv", "qwen2-bias",
  "qwen3-qknorm", "mistral-window", "gemma2-softcap", "bart-plain" } do
  t.test(name .. ": looked up or guessed by a model, an answer is the one without guesses", function()
    local m = load(name)
    local draft, accepted = name ~= "bart-plain" and load(name) or nil, 0
    for _ = 1, math.ceil(count / 4) do
      local prompt, options = prompt_of(m, random(90)), t.with(kinds[random(#kinds)](), { max_new_tokens = 1 + random(30) })
      local plain = m:generate({ ids = prompt }, options)
      local guessing = random(2) == 1 and { prompt_lookup_num_tokens = random(15), max_matching_ngram_size = random(3) }
        or { draft = draft, draft_tokens = draft and random(15) }
      local r = m:generate({ ids = prompt }, t.with(options, guessing))
      t.equal(answer(r), answer(plain))
      accepted = accepted + (r.accepted_tokens or 0)
    end
    t.ok(accepted > 0, "no guess came true")
  end)
end

local tales = pl.load("scripts/models/tales", { compute = "f32", threads = 1 })

t.test("a draft that is the model itself is right wherever it can be", function()
  local twin = pl.load("scripts/models/tales", { compute = "f32", threads = 1 })
  for _, options in ipairs { { do_sample = false }, { do_sample = true, seed = 3, temperature = 0.8, top_k = 20 } } do
    local all = t.with(options, { max_new_tokens = 41, eos_token_id = {} })
    local plain = tales:generate("Once upon a time", all)
    local r = tales:generate("Once upon a time", t.with(all, { draft = twin, draft_tokens = 4 }))
    t.equal(answer(r), answer(plain))
    t.equal({ r.drafted_tokens, r.accepted_tokens }, { 32, 32 })   -- 40 after the first, in passes of 5
    local bf16 = pl.load("scripts/models/tales", { compute = "bf16", threads = 1 })
    local other = tales:generate("Once upon a time", t.with(all, { draft = bf16 }))
    t.equal(answer(other), answer(plain))
    t.ok(other.accepted_tokens > 10)
  end
end)

t.test("whoever looks at tokens sees each once, in order", function()
  local text = "The fox and the crow. The fox and the crow. The fox and the"
  for _, guessing in ipairs { {}, { prompt_lookup_num_tokens = 8 } } do
    local seen, steps, states = {}, {}, {}
    local function ask(more)
      return tales:generate(text, t.with({ max_new_tokens = 24, do_sample = false, eos_token_id = {} }, t.with(guessing, more)))
    end
    local whole = ask { on_token = function(piece, event) seen[#seen + 1] = { piece, event.id } end,
      processors = function(row, s)
        steps[#steps + 1] = { s.step, #s.ids }
        row:set(-1e9, { vocab = 300 + s.step })
      end,
      stop_when = function(s) states[#states + 1] = s.text end }
    t.equal({ #seen, #steps, #states }, { 24, 24, 24 })
    for i, step in ipairs(steps) do t.equal(step[1], i - 1) end
    local stopped = ask { stop = whole.text:sub(9, 12) }
    local pieces = {}
    for piece in tales:stream(text, t.with({ max_new_tokens = 24, do_sample = false, eos_token_id = {} }, guessing)) do pieces[#pieces + 1] = piece end
    local all = { whole.ids, whole.text, seen, states, answer(stopped), pieces }
    if not guessing.prompt_lookup_num_tokens then
      t.plain = all
    else
      t.ok(whole.drafted_tokens > 0)
      t.equal(all, t.plain)
    end
  end
end)

-- Mirostat's bound moves with every choice, a grammar with every token taken: a second choice for one place,
-- or one for a guess, would show.
t.test("what goes from token to token goes on as without guesses", function()
  local twin = pl.load("scripts/models/tales", { compute = "f32", threads = 1 })
  local text = "The fox and the crow. The fox and the crow. The fox and the"
  local mirostat = { do_sample = true, mirostat = 2, mirostat_tau = 1.5, mirostat_eta = 0.8 }
  for _, rule in ipairs {
    mirostat, t.with(mirostat, { n = 3 }), { do_sample = false, regex = "( [a-z]+)* Fox\\." },
    t.with(mirostat, { regex = "( [a-z]+,?){2,}\\.( [A-Z][a-z]+){4}" }), { do_sample = false, choices = { " fox and the crow. The fox", " fox and the wolf" } },
  } do
    local drafted, accepted = 0, 0
    for _, guessing in ipairs { { prompt_lookup_num_tokens = 8 }, { draft = twin, draft_tokens = 5 } } do
      for seed = 1, 3 do
        local options = t.with(rule, { max_new_tokens = 30, seed = seed, eos_token_id = {}, logprobs = not rule.n and 1 or nil })
        local r = tales:generate(text, t.with(options, guessing))
        t.equal(answer(r), answer(tales:generate(text, options)))
        drafted, accepted = drafted + r.drafted_tokens, accepted + r.accepted_tokens
      end
    end
    t.ok(accepted > 0, "no guess came true")
    t.ok(drafted > accepted, "no guess proved wrong")
  end
end)

t.test("text that repeats takes fewer passes", function()
  local ids = tales.tokenizer:ids(("One day a fox met a crow. "):rep(6))
  local function steps(options)
    local e = pl.engine(tales)
    local line = e:submit({ ids = ids }, t.with({ max_new_tokens = 40, do_sample = false, eos_token_id = {}, no_repeat_ngram_size = 0 }, options))
    e:drain()
    return e:stats().steps, line:result()
  end
  local plain, a = steps {}
  local fewer, b = steps { prompt_lookup_num_tokens = 10 }
  t.equal(a.ids, b.ids)
  t.ok(fewer <= plain, "more passes with guesses")
  t.equal(fewer, plain - b.accepted_tokens)
end)

t.test("many at once, in any order, chunk and memory", function()
  local twin = load "llama-gqa"
  local m = load "llama-gqa"
  local page = 64 * m:memory().cache_per_token
  local function whims(queue)
    local plan = { preempt = {} }
    for _, entry in ipairs(queue) do
      if random(3) > 1 then
        plan[#plan + 1] = random(2) == 1 and entry or { entry, tokens = random(entry.pending_tokens) }
      elseif random(9) == 1 and entry.state ~= "waiting" then
        plan.preempt[#plan.preempt + 1] = entry
      end
    end
    if #plan == 0 then plan = { queue[1], preempt = {} } end
    return plan
  end
  for _ = 1, math.ceil(count / 10) do
    local e, lines = pl.engine(m, { policy = whims, memory = random(2) == 1 and 14 * page or nil }), {}
    for i = 1, 8 do
      local options = t.with(kinds[random(#kinds)](), { max_new_tokens = random(20) })
      options = t.with(options, random(3) > 1 and { prompt_lookup_num_tokens = random(15) } or { draft = twin, draft_tokens = random(9) })
      lines[i] = { prompt = prompt_of(m, random(80)), options = options }
      lines[i].line = e:submit({ ids = lines[i].prompt }, options)
    end
    e:drain()
    for _, one in ipairs(lines) do
      one.options.draft, one.options.draft_tokens, one.options.prompt_lookup_num_tokens = nil, nil, nil
      t.equal(answer(one.line:result()), answer(m:generate({ ids = one.prompt }, one.options)))
    end
    e:close()
  end
end)

t.test("a thread of its own has drafts, too", function()
  local twin = pl.load("scripts/models/tales", { compute = "f32", threads = 1 })
  local options = { max_new_tokens = 20, do_sample = false }
  local e = pl.engine(tales, { worker = true })
  local line = e:submit("Once upon a time", t.with(options, { draft = twin }))
  e:drain()
  t.equal(answer(line:result()), answer(tales:generate("Once upon a time", options)))
  t.ok(line:result().accepted_tokens > 0)
  e:close()
end)

t.test("what does not go together is refused, with what to do", function()
  local other = load "llama-gqa"
  local function refused(options, ...) t.raises_text(function() tales:generate("Once", options) end, ...) end
  refused({ draft = other }, "option draft", "tokens are not those of the model")
  refused({ draft = tales }, "the model itself")
  refused({ draft = 7 }, "option draft", "Model")
  refused({ draft_tokens = 3 }, "draft_tokens", "draft")
  refused({ prompt_lookup_num_tokens = 99 }, "at most 15", "99")
  refused({ prompt_lookup_num_tokens = 4, num_beams = 2 }, "num_beams")
  local reviews = pl.load "scripts/models/reviews"
  refused({ draft = reviews }, "option draft")
end)
