-- Our speed beside llama.cpp's (and ik_llama.cpp's) on the same GGUF files. Every round measures each side once, one
-- right after the other, with the memory bandwidth beside them; tables show medians, the best, and their ratios. On a
-- busy machine only ratios mean something.
--
--     perilune tests/bench/versus/versus.lua --llama PATH/llama-bench [--ik PATH/llama-bench] MODEL.gguf …
--         [--threads 1,2] [--prompt 512] [--new 32] [--depth 0] [--rounds 5] [--json FILE]
--
-- Prefill reads --prompt tokens into an empty cache; decode writes --new tokens behind --depth others, as llama-bench
-- does. random_model.lua writes models of the size that people run; `perilune quantize smollm2 OUT.gguf --to TYPE` small
-- ones. llama.cpp: cmake -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON; ninja -C build llama-bench.
local pl = require "perilune"
local core = require "perilune.core"
local speed = require "perilune.program.speed"

local o = { threads = "1,2", prompt = 512, new = 32, depth = 0, rounds = 5 }
local models = dofile((arg[0]:match "^.*/" or "") .. "../arguments.lua")("versus", o, { llama = true, ik = true, json = true })
assert(#models > 0, "versus: name one GGUF file or more")
local sides = { "ours" }
for _, name in ipairs { "llama", "ik" } do
  if o[name] then sides[#sides + 1] = name end
end

-- ---------------------------------------------------------------- one run of each side; tokens a second

local function generate(m, prompt, new)
  local result = m:generate({ ids = speed.prompt_ids(m, prompt), max_new_tokens = new, min_new_tokens = new, do_sample = false, reuse = false })
  return result.timings
end

local function ours(m, threads)
  core.set_threads(threads)
  local prefill = o.prompt / (generate(m, o.prompt, 1).prefill_ms / 1000)
  return { prefill = prefill, decode = o.new / (generate(m, math.max(1, o.depth), o.new + 1).decode_ms / 1000) }
end

-- llama-bench prints an array of tests, each with its mean rate.
local function theirs(program, path, threads)
  local command = ("'%s' -m '%s' -t %d -p %d -n 0 -r 1 -o json 2>/dev/null"):format(program, path, threads, o.prompt)
  local other = ("'%s' -m '%s' -t %d -p 0 -n %d -r 1 -d %d -o json 2>/dev/null"):format(program, path, threads, o.new, o.depth)
  if o.depth == 0 then other = other:gsub(" %-d 0", "") end
  local rates = {}
  for _, one in ipairs { { "prefill", command }, { "decode", other } } do
    local pipe = assert(io.popen(one[2]))
    local tests = pl.json.decode(pipe:read "*a")
    pipe:close()
    rates[one[1]] = assert(tests[1] and tests[1].avg_ts, program .. " measured nothing of " .. path)
  end
  return rates
end

-- ---------------------------------------------------------------- all rounds

local function measure(path, threads)
  local m = pl.load(path)
  generate(m, o.prompt, 2)   -- warm
  local run = { model = path:match "[^/]+$", threads = threads, compute = m.compute, bytes_per_token = m:bytes_per_token(),
    memory_bytes_per_s = {}, prefill = {}, decode = {} }
  for round = 1, o.rounds do
    run.memory_bytes_per_s[round] = core.memory_bandwidth()
    for _, side in ipairs(sides) do
      local rates = side == "ours" and ours(m, threads) or theirs(o[side], path, threads)
      for _, what in ipairs { "prefill", "decode" } do
        run[what][side] = run[what][side] or {}
        run[what][side][round] = rates[what]
      end
    end
  end
  m:close()
  return run
end

local function copy(list) return { unpack(list) } end

-- "median (best)" of a side, and how many times the other's.
local function cells(run, what)
  local row, own = {}, run[what].ours
  for _, side in ipairs(sides) do
    local list = run[what][side]
    local format = math.max(unpack(list)) < 100 and "%.1f (%.1f)" or "%.0f (%.0f)"
    row[#row + 1] = format:format(speed.median(copy(list)), math.max(unpack(list)))
  end
  for i = 2, #sides do
    local list, ratios = run[what][sides[i]], {}
    for round = 1, #list do ratios[round] = own[round] / list[round] end
    row[#row + 1] = ("%.2f (%.2f)"):format(speed.median(ratios), math.max(unpack(own)) / math.max(unpack(list)))
  end
  return table.concat(row, " | ")
end

local function head()
  local names, lines = {}, {}
  for _, what in ipairs { "prefill", "decode" } do
    for _, side in ipairs(sides) do names[#names + 1] = what .. ", " .. (side == "ours" and "ours" or side == "ik" and "ik_llama.cpp" or "llama.cpp") end
    for i = 2, #sides do names[#names + 1] = "to " .. (sides[i] == "ik" and "ik_llama.cpp" or "llama.cpp") end
  end
  for i = 1, #names + 4 do lines[i] = "---" end
  print(("tokens/s, median (best) of %d rounds; ratios: median of the rounds' (of the best); %s, %s, %s"):format(o.rounds,
    "prefill " .. o.prompt, "decode " .. o.new .. " behind " .. o.depth, os.date "%Y-%m-%d"))
  print(("| file | threads | %s | memory, GB/s | of it, decode |\n|%s|"):format(table.concat(names, " | "), table.concat(lines, "|")))
end

head()
local processor = io.open "/proc/cpuinfo":read "*a":match "model name%s*:%s*([^\n]+)" or "unknown processor"
local report = { prompt = o.prompt, new = o.new, depth = o.depth, rounds = o.rounds, processor = processor, date = os.date "%Y-%m-%d",
  runs = core.array {} }
for _, path in ipairs(models) do
  for count in o.threads:gmatch "%d+" do
    local run = measure(path, tonumber(count))
    report.runs[#report.runs + 1] = run
    local bandwidth = speed.median(copy(run.memory_bytes_per_s))
    print(("| %s (%s) | %d | %s | %s | %.1f | %.0f %% |"):format(run.model, run.compute, run.threads, cells(run, "prefill"), cells(run, "decode"),
      bandwidth / 1e9, 100 * speed.median(copy(run.decode.ours)) * run.bytes_per_token / bandwidth))
    io.stdout:flush()
  end
end
if o.json then core.write_file(o.json, core.write_json(report)) end
