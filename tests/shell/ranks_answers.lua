-- What models answer, for tests/shell/ranks_test.sh: every number to the bit, as a sum over its digits. With "kill" the
-- process of another rank is ended on the way; "short": two models.
local pl = require "perilune"
local core = require "perilune.core"
local device = os.getenv "PERILUNE_DEVICE" or "cpu"

local function digits(t)
  local sum, count = 0, 0
  local function add(value)
    if type(value) == "table" then
      for _, item in ipairs(value) do add(item) end
    else
      for i, byte in ipairs { ("%.9g"):format(value):byte(1, -1) } do sum = (sum * 31 + byte * i) % 4294967291 end
      count = count + 1
    end
  end
  add(t:tolist())
  return ("%d numbers %.0f"):format(count, sum)
end

local function decoder(path, prompt)
  local m = pl.load(path, { device = device })
  local rows = { { 1, 5, 6, 7, 8 }, { 1, 9 } }
  print(path, digits(m:forward(rows, { rows = "all" }).logits))
  local sampled = m:generate({ prompt, prompt }, { max_new_tokens = 12, seed = 7, do_sample = true, logprobs = 1 })
  print("sampled", table.concat(sampled[1].ids, " "), ("%.9g"):format(sampled[2].logprobs[12]))
  print("beams", table.concat(m:generate(prompt, { max_new_tokens = 8, num_beams = 3, do_sample = false }).ids, " "))
  -- Served in parts and together, with shared pages.
  local e = pl.engine(m)
  local lines = { e:submit(prompt, { max_new_tokens = 6, seed = 1 }), e:submit(prompt, { max_new_tokens = 9, seed = 2, n = 2 }) }
  e:drain()
  for _, line in ipairs(lines) do print("served", table.concat(line:result().ids, " ")) end
  local traced = m:trace({ { 1, 5, 6, 7 } }, { "layers.0.attention.weights", "layers.1.attention.query", "layers.1" })
  for _, t in traced:each() do print("traced", digits(t)) end
  local cache = m:cache()
  m:forward({ 1, 5, 6 }, { cache = cache })
  local fork = cache:fork()
  print("cached", digits(m:forward({ 7 }, { cache = cache }).logits), digits(m:forward({ 8 }, { cache = fork }).logits))
  return m
end

if arg[1] == "kill" then   -- the number of the other rank's process is in a file
  local m = pl.load("scripts/models/tales", { device = device })
  m:generate("Once", { max_new_tokens = 2 })
  os.execute("kill -9 $(cat " .. arg[2] .. ") && date +%s%N >" .. arg[2] .. ".time")
  for _ = 1, 100 do m:generate("Once upon a time", { max_new_tokens = 400 }) end
  print "went on"
  os.exit(0)
elseif arg[1] == "exit" then
  pl.load("scripts/models/tales", { device = device })
  os.exit(3)
end

if device == "cpu" then decoder("scripts/models/tales", "Once upon a time"):close() end
local short = arg[1] == "short"
if not short then decoder("tests/golden/gpt2-plain", { 1, 5, 6 }) end
decoder("tests/golden/llama-gqa", { 1, 5, 6 })
if not short then
  local t5 = pl.load("tests/golden/t5-relu-tied", { device = device })
  print("t5", digits(t5:forward({ { 5, 6, 7, 1 }, { 9, 1 } }, { rows = "all", decoder = { { 0, 5 }, { 0 } } }).logits))
  print("t5", table.concat(t5:generate({ 5, 6, 7, 1 }, { max_new_tokens = 6, do_sample = false }).ids, " "))
end
local bert = pl.load("tests/golden/bert-base", { device = device })
print("bert", digits(bert:forward({ { 2, 5, 6, 3 }, { 2, 9, 3 } }).last_hidden_state))
for _, refused in ipairs { function() bert:eager():forward { 2, 3 } end, function() bert:quantize "int8" end,
  function() pl.load "no/such/model" end } do
  local fine, err = pcall(refused)
  print("refused", fine, (tostring(err):gsub("^.-/", "")))
end
local known = core.ranks()
io.stderr:write(("rank %d of %d\n%s\n"):format(known.rank, known.size, tostring(bert.device_map)))
