-- Many clients at once, ours beside llama.cpp's llama-batched-bench on the same GGUF file: so many prompts are read
-- together, then each gets its answer. Every round measures each side once, one right after the other; the table shows the
-- medians of the rounds, the best, and the medians' ratios. On a busy machine only ratios mean something.
--
--     perilune tests/bench/versus/clients.lua --llama PATH/llama-batched-bench MODEL.gguf …
--         [--clients 16] [--prompt 128] [--new 64] [--threads 2] [--rounds 3]
--
-- Rows "shared": all prompts are the same but for their last 8 tokens; there the whole prompt is (-pps).
-- llama.cpp: cmake -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON; ninja -C build llama-batched-bench.
local pl = require "perilune"
local core = require "perilune.core"

local o = { clients = 16, prompt = 128, new = 64, threads = 2, rounds = 3 }
local models = dofile((arg[0]:match "^.*/" or "") .. "../arguments.lua")("clients", o, { llama = true })
assert(o.llama and #models > 0, "clients: give --llama PATH and one GGUF file or more")

-- Seconds until every client has its first token, and until all answers are there.
local function ours(m, shared, round)
  local policy = shared and pl.policy.prefix_first() or pl.policy.fifo()
  local engine = pl.engine(m, { policy = policy, max_tokens = 2048 })
  for i = 1, o.clients do
    local ids = {}
    for k = 1, o.prompt do
      local own = not shared or k > o.prompt - 8
      ids[k] = ((own and i * 31 or 0) + round * 1009 + k * 17) % (m.vocab_size - 8) + 4   -- nothing is left of other rounds
    end
    engine:submit({ ids = ids }, { max_new_tokens = o.new + 1, do_sample = false, eos_token_id = {}, reuse = shared, tag = "all" })
  end
  local began, waiting, read = pl.clock(), o.clients, nil
  local seen = {}
  while not engine:idle() do
    engine:step()
    for request, event in engine:events() do
      if event.kind == "token" and not seen[request.id] then seen[request.id], waiting = true, waiting - 1 end
    end
    if waiting == 0 and not read then read = pl.clock() - began end
  end
  local whole = pl.clock() - began
  engine:close()
  return { read = read, write = whole - read, whole = whole }
end

local function theirs(path, shared)
  local command = ("'%s' -m '%s' -c %d -b 2048 -ub 512 -npp %d -ntg %d -npl %d -t %d -tb %d %s --output-format jsonl 2>/dev/null"):format(o.llama, path,
    o.clients * (o.prompt + o.new + 8), o.prompt, o.new, o.clients, o.threads, o.threads, shared and "-pps" or "")
  local pipe = assert(io.popen(command))
  local out = pipe:read "*a"
  pipe:close()
  local line = assert(out:match '({[^\n]*"t_tg"[^\n]*})', "clients: no answer of " .. command .. "\n" .. out)
  local r = pl.json.decode(line)
  return { read = r.t_pp, write = r.t_tg, whole = r.t }
end

local function median(list, key)
  local values = {}
  for i, one in ipairs(list) do values[i] = one[key] end
  table.sort(values)
  return values[math.ceil(#values / 2)], values[1]
end

core.set_threads(o.threads)
print(("%d clients, %d tokens to read and %d to write each, %d threads, %d rounds; seconds: median (best)"):format(o.clients, o.prompt, o.new, o.threads,
  o.rounds))
print "| file | prompts | side | read | write | both | ratio of read, write, both |"
print "|---|---|---|---|---|---|---|"
for _, path in ipairs(models) do
  local m = pl.load(path)
  for _, shared in ipairs { false, true } do
    local a, b = {}, {}
    for round = 1, o.rounds do a[round], b[round] = ours(m, shared, round), theirs(path, shared) end
    for i, list in ipairs { a, b } do
      local cells, ratios = {}, {}
      for _, key in ipairs { "read", "write", "whole" } do
        cells[#cells + 1] = ("%.2f (%.2f)"):format(median(list, key))
        ratios[#ratios + 1] = ("%.2f"):format((median(b, key)) / (median(a, key)))
      end
      print(("| %s | %s | %s | %s | %s |"):format(path:match "[^/]+$", shared and "shared" or "apart", i == 1 and "ours" or "llama.cpp", table.concat(cells, " | "),
        i == 1 and table.concat(ratios, ", ") or ""))
    end
    io.stdout:flush()
  end
  m:close()
end
