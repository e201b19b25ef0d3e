-- Texts that begin alike share their keys and values: found by their ids, across requests and turns of
-- a chat, to the same bits as computed alone; cold pages go when room is needed.
-- PERILUNE_REUSED sets how many random prompts each model answers (default 60).
local pl = require "perilune"
local t = require "spec"

local count = tonumber(os.getenv "PERILUNE_REUSED") or 60
local rows = require "rows_of"
local load, ids, joined, answer, alone = rows.load, rows.ids, rows.joined, rows.answer, rows.alone
local random = rows.random(4711)
local greedy = { max_new_tokens = 5, do_sample = false, eos_token_id = {}, logprobs = 2 }


local decoders = { "llama-gqa", "llama-rope-linear", "llama-rope3-bf16", "gpt2-plain", "gpt_neox-parallel", "phi-partial-rotary",
  "phi3-fused-qkv", "qwen2-bias", "qwen3-qknorm", "mistral-window", "gemma2-softcap" }

t.test("a prompt is read from where it differs, in pages and in parts of them", function()
  local m = load "llama-gqa"
  local first = ids(1, 150)
  t.equal(m:generate(first, greedy).reused_tokens, 0)
  t.equal(m:generate(first, greedy).reused_tokens, 149)   -- the last token's logits are wanted
  for _, same in ipairs { 1, 40, 64, 65, 100, 128, 149 } do
    local prompt = joined({ unpack(first, 1, same) }, ids(50 + same, 20))
    local r = m:generate(prompt, greedy)
    t.equal(r.reused_tokens, same)
    t.equal(r.prompt_tokens, same + 20)
    t.equal(answer(r), alone(m, prompt, greedy))
  end
end)

t.test("an answer is part of what the next turn finds", function()
  local m = load "llama-gqa"
  local text = ids(2, 70)
  for turn = 1, 4 do
    local r = m:generate(text, greedy)
    t.equal(answer(r), alone(m, text, greedy))
    if turn > 1 then t.equal(r.reused_tokens, #text - 9) end   -- nobody computed the last answer's last token
    text = joined(text, r.ids, ids(60 + turn, 8))
  end
end)

t.test("reuse = false neither takes nor leaves; an engine says it for all of its requests", function()
  local m = load "llama-gqa"
  local prompt = ids(3, 90)
  m:generate(prompt, t.with(greedy, { reuse = false }))
  t.equal(m:memory().kept, 0)
  t.equal(m:generate(prompt, greedy).reused_tokens, 0)
  t.equal(m:generate(prompt, t.with(greedy, { reuse = false })).reused_tokens, 0)
  for _, reuse in ipairs { false, true } do
    local e = pl.engine(m, { reuse = reuse })
    local line, own = e:submit(prompt, greedy), e:submit(prompt, t.with(greedy, { reuse = true }))
    e:drain()
    t.equal(line:result().reused_tokens, reuse and 89 or 0)
    t.equal(own:result().reused_tokens, 89)
    e:close()
  end
end)

t.test("pages that a window dropped limit what is shared, and change no bit", function()
  for _, name in ipairs { "mistral-window", "gemma2-softcap" } do
    local m = load(name)
    for _, chunk in ipairs { 200, 16 } do   -- in one pass pages leave their window before anyone could find them
      local prompt = ids(chunk, 200)
      local e = pl.engine(m, { max_tokens = chunk })
      local function ask(row)
        local line = e:submit(row, greedy)
        e:drain()
        return line:result()
      end
      t.equal(ask(prompt).reused_tokens, 0)
      for _, same in ipairs { 1, 30, 64, 100, 130, 190, 199 } do
        local other = joined({ unpack(prompt, 1, same) }, ids(70 + same, 10))
        local r = ask(other)
        if chunk == 16 or same >= 190 then t.equal(r.reused_tokens, same) end
        t.ok(r.reused_tokens <= same)
        t.equal(answer(r), alone(m, other, greedy))
      end
      e:close()
    end
  end
end)

t.test("an encoder-decoder's keys depend on its source, and are not shared", function()
  for _, name in ipairs { "bart-plain", "t5-relu-tied" } do
    local m = load(name)
    for seed = 1, 2 do
      local options = t.with(greedy, { decoder = ids(9, 8) })
      local r = m:generate(ids(seed, 20), options)
      t.equal(r.reused_tokens, 0)
      t.equal(answer(r), alone(m, ids(seed, 20), options))
      t.equal(m:generate(ids(seed, 20), options).reused_tokens, 0)
    end
  end
end)

t.test("log-probabilities of a prompt are those of all its tokens", function()
  local m = load "llama-gqa"
  local prompt = ids(5, 80)
  m:generate(prompt, greedy)
  local options = t.with(greedy, { prompt_logprobs = true })
  local r = m:generate(prompt, options)
  t.equal(r.reused_tokens, 0)
  t.equal(#r.prompt_logprobs, 79)
  t.equal(answer(r), alone(m, prompt, options))
end)

t.test("changed weights and another compute mode find nothing", function()
  local m = load "llama-gqa"
  local prompt = ids(6, 90)
  m:generate(prompt, greedy)
  m:set_weight("norm", m:weight "norm" * 2)
  local r = m:generate(prompt, greedy)
  t.equal(r.reused_tokens, 0)
  t.equal(answer(r), alone(m, prompt, greedy))
end)

t.test("several answers and beams begin with what is there", function()
  local m = load "llama-gqa"
  local prompt = ids(7, 100)
  m:generate(prompt, greedy)
  for _, options in ipairs { { n = 3, do_sample = true, seed = 5, max_new_tokens = 9, eos_token_id = {} },
    { num_beams = 3, n = 2, do_sample = false, max_new_tokens = 9, eos_token_id = {} } } do
    local r, other = m:generate(prompt, options), m:generate(prompt, t.with(options, { reuse = false }))
    t.ok(r.reused_tokens >= 64)
    for i, sequence in ipairs(r.sequences) do
      t.equal(sequence.ids, other.sequences[i].ids)
      t.equal(sequence.score, other.sequences[i].score)
    end
  end
end)

t.test("cold pages go when room is needed, least recently used first", function()
  local m = load "llama-gqa"
  local page = 64 * m:memory().cache_per_token
  local e = pl.engine(m, { memory = 6 * page })
  local function ask(seed)
    local line = e:submit(ids(seed, 100), greedy)
    e:drain()
    local r = line:result()
    t.equal(r.error, nil)
    t.equal(answer(r), alone(m, ids(seed, 100), greedy))
    return r.reused_tokens
  end
  t.equal({ ask(11), ask(12), ask(13) }, { 0, 0, 0 })
  t.equal(ask(11), 99)
  t.equal(ask(14), 0)        -- takes the pages of 12
  t.equal(ask(11), 99)
  t.equal(ask(12), 0)
  t.equal(e:stats().cache_bytes, 0)
  e:close()
end)

-- Prompts that are fronts, mixtures and continuations of one another.
local function random_prompt(made, most)
  local from = #made > 0 and random(4) > 1 and made[random(#made)] or {}
  local prompt = { unpack(from, 1, random(math.max(1, #from)) - 1) }
  for _ = 1, random(40) do
    if #prompt < most then prompt[#prompt + 1] = random(3) + 4 end
  end
  made[#made + 1] = prompt
  return prompt
end

-- Some of them, in any chunk, preempted now and then.
local function whims(queue)
  local plan = { preempt = {} }
  for _, entry in ipairs(queue) do
    if random(3) > 1 then
      plan[#plan + 1] = random(2) == 1 and entry or { entry, tokens = random(math.min(entry.pending_tokens, 40)) }
    elseif random(12) == 1 and entry.state ~= "waiting" then
      plan.preempt[#plan.preempt + 1] = entry
    end
  end
  if #plan == 0 then plan = { queue[1], preempt = {} } end
  return plan
end

for _, name in ipairs(decoders) do
  t.test(name .. ": random prompts with common fronts answer as they do alone", function()
    local m = load(name)
    local page, made, reused, e = 64 * m:memory().cache_per_token, {}, 0, nil
    local lines = {}
    for i = 1, count do
      if i % 20 == 1 then
        if e then e:drain() end
        e = pl.engine(m, { policy = random(2) == 1 and whims or nil, memory = random(3) == 1 and 12 * page or nil })
      end
      local prompt = random_prompt(made, math.min(m.max_tokens, 250) - 12)
      local options = { max_new_tokens = random(8), do_sample = random(2) == 1, seed = random(99), logprobs = 0, eos_token_id = {} }
      lines[i] = { line = e:submit(prompt, options), prompt = prompt, options = options }
      for _ = 1, random(4) do if not e:idle() then e:step() end end
    end
    e:drain()
    for _, one in ipairs(lines) do
      local r = one.line:result()
      reused = reused + r.reused_tokens
      t.equal(answer(r), alone(m, one.prompt, one.options))
    end
    t.ok(reused > 5 * count, "little was found")
  end)
end
