-- How long a model takes from the page cache to its first token beside a plain read of its file, and the most memory that
-- takes beside its weights and cache.
--
--     perilune tests/bench/load.lua FILE.gguf … [--threads 2] [--rounds 5]
--
-- Each round reads the file with dd, into one buffer of a MiB and then whole into fresh memory, and starts a program that loads
-- it and makes one token, which the clock stops at. The first round is not counted: it brings the file to the page cache.
-- Any loader that keeps what it reads needs fresh memory, which the kernel clears and a virtual machine may have to ask for.
local core = require "perilune.core"
local speed = require "perilune.program.speed"

local o = { threads = 2, rounds = 5, one = 0 }
local script = arg[0]
local files = dofile((script:match "^.*/" or "") .. "arguments.lua")("load", o)
assert(files[1], "load: name a file")

-- The program that is started: MiB of weights and cache, and of the most memory.
if o.one ~= 0 then
  core.set_threads(o.threads)
  local m = require "perilune".load(files[1])
  m:generate { ids = { speed.prompt_ids(m, 1)[1] }, max_new_tokens = 1, min_new_tokens = 1, do_sample = false, reuse = false }
  local memory = m:memory()
  local peak = io.open "/proc/self/status":read "*a":match "VmHWM:%s*(%d+)"
  print(("%d %d"):format(memory.weights + memory.cache, peak * 1024))
  io.stdout:flush()
  os.exit(0)
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- Seconds until the command has said a line, and the line.
local function seconds(command)
  local started = core.clock()
  local pipe = assert(io.popen(command))
  local line = pipe:read "*l"
  local took = core.clock() - started
  pipe:close()
  return took, line
end

local function columns(lists)
  local cells = {}
  for i, list in ipairs(lists) do cells[i] = ("%.2f (%.2f)"):format(speed.median { unpack(list) }, math.min(unpack(list))) end
  return table.concat(cells, " | ")
end

local function ratios(a, b)
  local list = {}
  for i = 1, #a do list[i] = a[i] / b[i] end
  return ("%.2f (%.2f)"):format(speed.median(list), math.min(unpack(a)) / math.min(unpack(b)))
end

local function measure(file)
  local parts, whole, loads, kept, peak = {}, {}, {}, nil, 0
  local handle = assert(io.open(file))
  local bytes = handle:seek "end"
  handle:close()
  for round = 0, o.rounds do
    local part = seconds(("dd if=%s of=/dev/null bs=1M 2>&1"):format(quoted(file)))
    local all = seconds(("dd if=%s of=/dev/null bs=%d iflag=fullblock 2>&1"):format(quoted(file), bytes))
    local load, line = seconds(("%s %s %s --one 1 --threads %d"):format(quoted(arg[-1]), quoted(script), quoted(file), o.threads))
    assert(line, "load: " .. file .. " was not loaded")
    if round > 0 then
      parts[round], whole[round], loads[round] = part, all, load
      local weights, most = line:match "(%d+) (%d+)"
      kept, peak = tonumber(weights), math.max(peak, tonumber(most))
    end
  end
  print(("| %s | %s | %s | %s | %d | %d | %.2f |"):format(file:match "[^/]+$", columns { parts, whole, loads }, ratios(loads, parts),
    ratios(loads, whole), kept / 2 ^ 20, peak / 2 ^ 20, peak / kept))
  io.stdout:flush()
end

print(("seconds, median (least) of %d rounds, %d threads; ratios: median of the rounds' (of the least); memory in MiB"):format(o.rounds, o.threads))
print "| file | read into one buffer | read into fresh memory | to the first token | to read into one buffer | to read into fresh memory | weights and cache | most memory | ratio |"
print "|---|---|---|---|---|---|---|---|---|"
for _, file in ipairs(files) do measure(file) end
