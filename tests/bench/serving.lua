-- What batching brings: prompts with the lengths of a real text's paragraphs, all there at once, served as static
-- padded batches, by buckets, packed, and continuously; and where the first half of every prompt is the same, computed
-- anew each time and shared. Ratios mean something on a busy machine, rates on a quiet one.
--
--     perilune tests/bench/serving.lua [MODEL [TEXT]] [--prompts N] [--rows N] [--repeats N]
local pl = require "perilune"

local o, words = { prompts = 200, rows = 8, repeats = 1 }, {}
do
  local at = 1
  while arg[at] do
    local name = arg[at]:match "^%-%-(%a+)$"
    if name and o[name] then
      o[name], at = assert(tonumber(arg[at + 1]), arg[at] .. " needs a number"), at + 1
    else
      words[#words + 1] = arg[at]
    end
    at = at + 1
  end
end
local m = pl.load(words[1] or "scripts/models/tales")
local text_path = words[2] or "docs/preflight.md"

-- Paragraphs in tokens, the same ones again where they are too few; an answer is as long as the next paragraph.
local function lengths()
  local file = assert(io.open(text_path))
  local text = file:read "*a"
  file:close()
  local most, list = math.floor((m.max_tokens or 1024) / 2), {}
  for paragraph in (text .. "\n\n"):gmatch "(.-)\n%s*\n" do
    if paragraph:find "%w" then list[#list + 1] = math.min(most, #m.tokenizer:ids(paragraph)) end
  end
  assert(#list > 1, text_path .. " has no paragraphs")
  local out = {}
  for i = 1, o.prompts do
    out[i] = { prompt = list[(i - 1) % #list + 1], output = math.max(1, math.floor(list[i % #list + 1] / 2)) }
  end
  return out
end

local function percentile(list, share)
  table.sort(list)
  return list[math.max(1, math.ceil(share * #list))] or 0
end

-- `own`: a number of the run; prompts that begin alike have their first half in common.
local function serve(work, policy, own, alike, shares)
  local engine, last = pl.engine(m, { policy = policy, max_rows = o.rows }), {}
  local first, gaps, peak, new = {}, {}, 0, 0
  for i, item in ipairs(work) do
    local ids = {}
    for k = 1, item.prompt do ids[k] = ((alike and k <= item.prompt / 2 and 0 or i * 31) + own * 1009 + k * 17) % m.vocab_size end
    engine:submit({ ids = ids }, { max_new_tokens = item.output, do_sample = false, eos_token_id = {}, reuse = shares or false, tag = alike and "alike" or nil })
  end
  local began = pl.clock()
  while not engine:idle() do
    engine:step()
    local now = (pl.clock() - began) * 1e3
    peak = math.max(peak, engine:stats().cache_bytes)
    for request, event in engine:events() do
      if event.kind == "token" and event.id >= 0 then
        local before = last[request.id]
        if before then gaps[#gaps + 1] = now - before else first[#first + 1] = now end
        last[request.id], new = now, new + 1
      end
    end
  end
  local seconds, stats = pl.clock() - began, engine:stats()
  engine:close()
  return { rate = new / seconds, waste = 1 - stats.tokens / stats.positions, steps = stats.steps, first50 = percentile(first, 0.5),
    first99 = percentile(first, 0.99), gap50 = percentile(gaps, 0.5), gap99 = percentile(gaps, 0.99), peak = peak }
end

local work, prompt, output = lengths(), 0, 0
for _, item in ipairs(work) do prompt, output = prompt + item.prompt, output + item.output end
print(("%s (%s on %s), %d threads; %d prompts of %s: %d tokens to read, %d to write; %d rows a step"):format(m.path, m.compute, m.device, m.threads,
  #work, text_path, prompt, output, o.rows))
local cases = {
  { "padded", function() return pl.policy.padded { rows = o.rows } end },
  { "buckets", function() return pl.policy.buckets { 16, 32, 64, 128 } end },
  { "bin_pack", pl.policy.bin_pack },
  { "continuous", pl.policy.fifo },
  { "halves alike, not shared", pl.policy.fifo, alike = true },
  { "halves alike, shared", pl.policy.prefix_first, alike = true, shares = true },
}
-- Interleaved, so that what else the machine does falls on all alike; the best run of each counts.
local best = {}
for turn = 1, o.repeats do
  for i, case in ipairs(cases) do
    local r = serve(work, case[2](), turn, case.alike, case.shares)
    if not best[i] or r.rate > best[i].rate then best[i] = r end
  end
end
print "| policy | new tokens/s | of padded | steps | padding | first token p50, p99 ms | gap p50, p99 ms | keys and values |"
print "|---|---|---|---|---|---|---|---|"
for i, case in ipairs(cases) do
  local r = best[i]
  print(("| %s | %.0f | %.2f | %d | %.1f %% | %.0f, %.0f | %.2f, %.2f | %.1f MB |"):format(case[1], r.rate, r.rate / best[1].rate, r.steps,
    100 * r.waste, r.first50, r.first99, r.gap50, r.gap99, r.peak / 1e6))
end
