-- The four policies of this folder, each on work of the kind it is for, beside fifo: simulated, without a model.
-- Then all of them serve the same prompts, and no answer differs.
--
--     perilune scripts/policies/try_them.lua [MODEL]
local pl = require "perilune"

local folder = arg[0]:match "^(.*/)" or ""
local function policy(name) return dofile(folder .. name .. ".lua") end
local cost = { ms_per_step = 5, ms_per_token = 0.05 }

-- The middle and the worst first token of those requests that `which` picks, in milliseconds.
local function first_tokens(result, which)
  local list = {}
  for i, request in ipairs(result.requests) do if which(i) then list[#list + 1] = request.first_token_ms end end
  table.sort(list)
  return list[math.ceil(#list / 2)], list[#list]
end

local function compare(title, name, work, room, which, whose)
  print(title)
  for _, kind in ipairs { "fifo", name } do
    local chosen = kind == "fifo" and pl.policy.fifo() or policy(kind)
    local r = pl.simulate(chosen, work, cost, room)
    local half, worst = first_tokens(r, which)
    print(("  %-16s first token of %s: half within %.0f ms, all within %.0f ms; %d steps, %.0f ms, %.1f %% padding"):format(kind, whose, half, worst,
      r.steps, r.ms, 100 * r.waste))
  end
end

local work = {}
for i = 1, 60 do
  local fast = i % 6 == 0
  work[i] = { prompt = fast and 30 or 400, output = fast and 10 or 60, priority = fast and 1 or 0, arrive_ms = 4 * i }
end
compare("latency class: someone waits for every sixth", "latency_class", work, { rows = 16 }, function(i) return i % 6 == 0 end, "the first class")

work = {}
for i = 1, 80 do work[i] = { prompt = 200, output = 20, client = i <= 60 and "trial" or "paying", arrive_ms = i <= 60 and 0 or 100 } end
compare("tenant quotas: one client sends sixty at once", "tenant_quotas", work, { rows = 8 }, function(i) return i > 60 end, "the other client")

work = {}
for i = 1, 64 do work[i] = { prompt = 20, arrive_ms = 2 * i } end
compare("wait for a batch: a text every 2 ms", "wait_for_batch", work, nil, function() return true end, "all")

work = {}
for i = 1, 64 do work[i] = { prompt = i % 4 == 0 and 300 or 20 + i % 7 } end
compare("prompts by length, where every step is padded", "by_length", work, { layout = "padded" }, function() return true end, "all")

local m = pl.load(arg[1] or "scripts/models/tales")
local prompts = { "Once upon a time", "The", "[wizard, mysterious, about the scroll]", "One day a fox", "There was a king who had many sons." }
local function serve(chosen)
  local engine, lines, texts = pl.engine(m, { policy = chosen, max_tokens = 32, max_rows = 3 }), {}, {}
  for i, prompt in ipairs(prompts) do
    lines[i] = engine:submit(prompt, { max_new_tokens = 12, seed = 3, priority = i % 2, client = i < 4 and "trial" or "paying" })
  end
  engine:drain()
  for i, line in ipairs(lines) do texts[i] = line:result().text end
  engine:close()
  return table.concat(texts, "\n")
end
local expected = serve(pl.policy.fifo())
for _, name in ipairs { "latency_class", "tenant_quotas", "wait_for_batch", "by_length" } do
  if serve(policy(name)) ~= expected then
    print("an answer differs under " .. name .. ": that must not happen")
    os.exit(1)
  end
end
print(("every answer is the same under all of them: %d prompts"):format(#prompts))
