-- Proves on your model and your machine that a batch never changes an answer: random compositions of prompts
-- (order, sizes, policies, chunks, who joins, leaves and is cancelled, pages shared and taken back, little memory, padded steps,
-- threads, guesses of the tokens ahead, grammars, beams, contrastive search, guidance, every token from the whole text), and
-- every answer held to the one that its prompt gets alone. Bits, not tolerances: ids and log-probabilities, or the
-- outputs of a head that writes nothing.
--
--     perilune scripts/prove_invariance.lua MODEL [--compositions N] [--seed S] [any option of pl.load as KEY=VALUE]
--
-- adapters=FOLDER,FOLDER lets prompts go through adapters, one, another or none.
local pl = require "perilune"

local path, count, seed, load_options = nil, 200, os.time() % 1000000, {}
do
  local at = 1
  while arg[at] do
    local name, value = arg[at]:match "^([%w_]+)=(.*)$"
    if arg[at] == "--compositions" or arg[at] == "--seed" then
      local number = tonumber(arg[at + 1])
      if not number or number < 1 then
        io.stderr:write(arg[at], " needs a number\n")
        os.exit(2)
      end
      if arg[at] == "--seed" then seed = number else count = number end
      at = at + 1
    elseif name then
      load_options[name] = tonumber(value) or value
      if name == "adapters" then
        load_options.adapters = {}
        for folder in value:gmatch "[^,]+" do load_options.adapters[#load_options.adapters + 1] = folder end
      end
    elseif not path and arg[at]:sub(1, 1) ~= "-" then
      path = arg[at]
    else
      io.stderr:write("usage: perilune scripts/prove_invariance.lua MODEL [--compositions N] [--seed S] [KEY=VALUE …]\n")
      os.exit(arg[at] == "--help" and 0 or 2)
    end
    at = at + 1
  end
end
if not path then
  io.stderr:write("usage: perilune scripts/prove_invariance.lua MODEL [--compositions N] [--seed S] [KEY=VALUE …]\n")
  os.exit(2)
end

-- Numbers that depend on the seed alone.
local state = seed
local function draw(most)
  state = (state * 1103515245 + 12345) % 2147483648
  return 1 + math.floor(state / 65536) % most
end

-- The same weights under one thread and under two; each guesses for the other.
local models = {}
for threads = 1, 2 do
  local o = { threads = threads }
  for key, value in pairs(load_options) do o[key] = value end
  models[threads] = pl.load(path, o)
end
local m = models[1]
if m.outliers then
  io.stderr:write("prove_invariance: outliers=" .. m.outliers .. " is a mode that is not batch-invariant: which inputs are "
    .. "multiplied apart depends on all rows of a step\n")
  os.exit(2)
end
local writes = m.head == "causal" or m.head == "seq2seq"
local most = math.min(90, math.floor((m.max_tokens or 512) / 2))
-- Bytes of keys and values that no request needs more of: three rows, in whole pages.
local most_pages = 3 * m:memory().cache_per_token * 64 * (math.ceil((most + 12) / 64) + 1)
local prompts = {}
for i = 1, 16 do
  local ids = {}
  for k = 1, i <= 2 and i or draw(most) do ids[k] = draw(m.vocab_size) - 1 end
  if i % 4 == 0 then for k = 1, math.min(#ids, #prompts[i - 1]) do ids[k] = prompts[i - 1][k] end end   -- begins as another does
  local eos = not writes and m.config.eos_token_id
  if type(eos) == "number" then   -- some heads read the end of the text, and there is one
    for k = 1, #ids do if ids[k] == eos then ids[k] = (eos + 1) % m.vocab_size end end
    ids[#ids + 1] = eos
  end
  prompts[i] = ids
end

local function adapter_of(i)
  local own = m.adapters[i % (#m.adapters + 1)]
  return own and own.name
end

-- How some prompts are searched for: by beams, by contrastive search, and held against the same answer without the prompt.
local beams = { [5] = 3, [11] = 2 }
local contrastive = { [9] = true, [12] = true }
local guided = { [3] = 1.5, [11] = 2, [12] = 1.5, [14] = 1.5 }
local negative = { [3] = 7, [11] = 6, [14] = 2 }   -- whose words stand in the prompt's place; else its last id

local function options_of(i)
  local other = guided[i] and prompts[negative[i]] or nil
  if contrastive[i] then
    return { adapter = adapter_of(i), max_new_tokens = 4, eos_token_id = {}, penalty_alpha = 0.6, top_k = 4, logprobs = 2,
      guidance_scale = guided[i], negative_prompt = other }
  end
  return { guidance_scale = guided[i], negative_prompt = other, adapter = adapter_of(i),
    max_new_tokens = 1 + i % 9, eos_token_id = {}, seed = i, do_sample = not beams[i] and i % 2 == 0,
    temperature = not beams[i] and i % 2 == 0 and 0.9 or nil,
    logprobs = not beams[i] and 2 or nil, num_beams = beams[i], n = i % 7 == 0 and 2 or nil,
    regex = m.tokenizer and i % 6 == 1 and "[ -~\\n]*" or nil }
end

-- What changes no answer: whose pages are shared, who guesses, whether keys are kept.
local function add_whims(o, i, model, reuse)
  o.priority, o.client, o.reuse = draw(3), "c" .. draw(3), reuse
  if o.num_beams or o.penalty_alpha then return o end
  local whim = draw(8)
  if whim == 1 then o.use_cache = false end
  if whim == 2 or whim == 3 then o.prompt_lookup_num_tokens, o.max_matching_ngram_size = draw(15), draw(3) end
  if whim == 4 and m.head == "causal" then o.draft, o.draft_tokens = models[model == m and 2 or 1], draw(6) end
  return o
end

-- What an answer is, to the last bit: doubles hold floats exactly, and %.17g tells all of them apart.
local function fingerprint(r)
  if r.error then return "error: " .. r.error end
  local parts = {}
  local function add(one)
    parts[#parts + 1] = table.concat(one.ids, " ")
    for k, logprob in ipairs(one.logprobs or {}) do
      parts[#parts + 1] = ("%.17g"):format(logprob)
      for _, other in ipairs(one.top_logprobs and one.top_logprobs[k] or {}) do parts[#parts + 1] = ("%d %.17g"):format(other.id, other.logprob) end
    end
  end
  for _, one in ipairs(r.sequences or { r }) do add(one) end
  return table.concat(parts, "\n")
end

local function outputs_of(result)
  local names = {}
  for name, t in pairs(result) do if type(t) == "userdata" and name ~= "batch" then names[#names + 1] = name end end
  table.sort(names)
  return names
end

local compared, different = 0, 0
local alone = {}

local function check(i, answer, how)
  compared = compared + 1
  if answer == alone[i] then return end
  different = different + 1
  if different > 5 then return end
  io.stderr:write(("\nprompt %d (%d tokens) differs: %s\nalone: %s\nhere:  %s\n"):format(i, #prompts[i], how, alone[i]:sub(1, 400),
    answer:sub(1, 400)))
end

-- A policy that does anything a policy may do.
local function whims(queue, room)
  local plan, tokens, preempt = { layout = draw(5) == 1 and "padded" or nil }, room.tokens, {}
  for k = #queue, 2, -1 do
    local other = draw(k)
    queue[k], queue[other] = queue[other], queue[k]
  end
  for _, entry in ipairs(queue) do
    if draw(20) == 1 and entry.cached_tokens > 0 then
      preempt[#preempt + 1] = entry
    elseif entry.rows >= 1 and (#plan == 0 or draw(3) > 1) then
      local n = math.min(entry.pending_tokens, math.floor(tokens / entry.rows))
      if entry.kind == "generate" and n > 1 and draw(2) == 1 then n = draw(n) end
      if n >= 1 and (entry.kind == "generate" or n == entry.pending_tokens) then
        plan[#plan + 1] = { entry, tokens = n }
        tokens = tokens - n * entry.rows
      end
    end
  end
  local rows = 0
  for k, part in ipairs(plan) do
    rows = rows + part[1].rows
    if rows > room.rows then
      for last = #plan, k, -1 do plan[last] = nil end
      break
    end
  end
  plan.preempt = preempt
  return plan
end

local policies = { function() return whims end, pl.policy.fifo, pl.policy.fill, function() return pl.policy.buckets { 8, 32 } end,
  pl.policy.shortest_first, pl.policy.bin_pack, function() return pl.policy.token_budget(8 + draw(40)) end, pl.policy.priority, pl.policy.fair,
  pl.policy.prefix_first, function() return pl.policy.padded { rows = 1 + draw(5) } end }

local function submit(engine, i, reuse, model)
  if not writes then return engine:submit({ prompts[i] }, { priority = draw(3), client = "c" .. draw(3), adapter = adapter_of(i) }) end
  return engine:submit({ ids = prompts[i] }, model and add_whims(options_of(i), i, model, reuse) or options_of(i))
end

local function answer_of(line)
  local r = line:result()
  if writes or r.error then return fingerprint(r) end
  local parts = {}
  for _, name in ipairs(outputs_of(r.outputs)) do
    local t = r.outputs[name]
    parts[#parts + 1] = name
    local function add(value)
      if type(value) == "number" then
        parts[#parts + 1] = ("%.17g"):format(value)
      else
        for _, one in ipairs(value) do add(one) end
      end
    end
    add(t:tolist())
  end
  return table.concat(parts, "\n")
end

-- Some are there, others join while these run, some are cancelled on their way.
local function serve(model, number)
  local made = policies[(number - 1) % #policies + 1]()
  local memory = writes and draw(3) == 1 and most_pages * (2 + draw(4)) or nil   -- little: pages are taken back, requests begin again
  local engine = pl.engine(model, { policy = made, max_tokens = 8 + draw(120), max_rows = 3 + draw(14), memory = memory })
  local lines, chosen = {}, {}
  for _ = 1, 2 + draw(10) do
    local i = draw(#prompts)
    lines[#lines + 1], chosen[#chosen + 1] = submit(engine, i, draw(2) == 1, model), i
    if draw(3) == 1 then engine:step(draw(2) == 1 and { budget_ms = 0.2 } or nil) end
    if draw(6) == 1 then
      local leaver = submit(engine, draw(#prompts), true, model)
      engine:step()
      leaver:cancel()
    end
  end
  engine:drain()
  for k, line in ipairs(lines) do check(chosen[k], answer_of(line), "policy " .. (type(made) == "table" and made.name or "whims")) end
  engine:close()
end

for i in ipairs(prompts) do
  local engine = pl.engine(m, { max_tokens = 4096 })
  local line = submit(engine, i, false)
  engine:drain()
  alone[i] = answer_of(line)
  if line:result().error then
    io.stderr:write("the model cannot answer: ", line:result().error, "\n")
    os.exit(1)
  end
  engine:close()
end

local began, shown = pl.clock(), 0
for number = 1, count do
  serve(models[number % 2 + 1], number)
  if pl.clock() - shown > 1 or number == count then
    shown = pl.clock()
    io.stderr:write(("\r%d of %d compositions, %d answers, %d differ"):format(number, count, compared, different))
  end
end
io.stderr:write "\n"
print(("%s (%s, %s on %s): %d compositions, %d answers, %d differ; seed %d, %.1f s"):format(path, m.family, m.compute, m.device, count, compared,
  different, seed, pl.clock() - began))
os.exit(different == 0 and 0 or 1)
