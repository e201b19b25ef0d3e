-- Tokens chosen on a device: the same as from logits copied to the host, and nothing but them is copied.
local pl = require "perilune"
local t = require "spec"

local name = os.getenv "PERILUNE_TEST_DEVICE" or "emulator"
local m, reason = pl.try(pl.load, "tests/golden/llama-gqa", { device = name, compute = "f32" })
if not m then t.skip("device " .. name .. ": " .. tostring(reason)) end

local prompts = { { 1, 7, 12, 9, 30, 4 }, { 1, 5 } }
local vocab = m:forward({ { 1 } }).logits:size "vocab"

-- A script's own processor takes its rows to the host.
local function on_host(options)
  local changed = { processors = { function(row) return row end } }
  for key, value in pairs(options) do changed[key] = value end
  return changed
end

local function bytes_of(run)
  local before = t.device(m.device)
  local answers = run()
  local after = t.device(m.device)
  return answers, after.bytes_out - before.bytes_out, after.copies_out - before.copies_out
end

local function plain(answers)
  local list = {}
  for i, answer in ipairs(answers) do
    list[i] = { ids = answer.ids, logprobs = answer.logprobs, top = answer.top_logprobs }
  end
  return list
end

local steps = 5
for what, options in pairs {
  greedy = { do_sample = false },
  ["a draw"] = { do_sample = true, seed = 4, temperature = 1.4, top_k = 30, top_p = 0.9, min_p = 0.01 },
  ["several outputs"] = { do_sample = true, seed = 4, n = 3 },
  ["penalties and bans"] = { do_sample = true, seed = 9, repetition_penalty = 1.4, frequency_penalty = 0.3,
    presence_penalty = 0.2, suppress_tokens = { 3, 4 }, no_repeat_ngram_size = 2, min_new_tokens = 3 },
  ["log-probabilities"] = { do_sample = false, logprobs = 3 },
} do
  t.test(what .. ": ids as from logits on the host, without their bytes", function()
    options.max_new_tokens = steps
    local here, bytes, copies = bytes_of(function() return m:generate(prompts, options) end)
    local there, all = bytes_of(function() return m:generate(prompts, on_host(options)) end)
    t.equal(plain(here), plain(there))
    t.ok(copies <= steps, ("%d copies to the host in %d steps"):format(copies, steps))
    t.ok(all >= steps * #prompts * vocab * 4, "the host had no logits")
    t.ok(bytes <= steps * 6 * 64, ("%d bytes came to the host"):format(bytes))
  end)
end

t.test("only rows that need the host are copied", function()
  local engine = pl.engine(m)
  local a = engine:submit(prompts[1], { max_new_tokens = steps, do_sample = true, seed = 1 })
  local b = engine:submit(prompts[2], { max_new_tokens = steps, do_sample = true, seed = 1, typical_p = 0.5 })
  local before = t.device(m.device).bytes_out
  engine:drain()
  local bytes = t.device(m.device).bytes_out - before
  t.equal(engine:stats().device_choices, #a:result().ids)
  t.ok(bytes <= #b:result().ids * vocab * 4 + steps * 256, ("%d bytes came to the host"):format(bytes))
end)
