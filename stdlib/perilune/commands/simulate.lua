-- perilune simulate: a policy tried on lengths, without a model.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"
local timeline = require "perilune.show.timeline"

local simulate = {
  summary = "what a batching policy makes of a list of lengths: steps, padding, waiting",
  usage = "perilune simulate POLICY.lua LENGTHS.txt [options]",
  options = {
    padded = { help = "pad every step to its longest row" },
    json = { help = "numbers only, as JSON" },
    plot = { value = "FILE.svg", help = "draw who ran when" },
    model = { value = "PATH", help = "a model: its pages, its context, its times as measured here" },
    tokens = { value = "N", number = true, help = "most tokens of a step (default 512)" },
    rows = { value = "N", number = true, help = "most rows of a step (default 64)" },
    bytes = { value = "N", number = true, help = "memory for keys and values" },
    output = { value = "N", number = true, help = "new tokens of lines that say none (default 0)" },
    ["ms-per-step"] = { value = "X", number = true, help = "what a step takes by itself (default 1)" },
    ["ms-per-token"] = { value = "X", number = true, help = "and for each position it computes (default 0)" },
    ["cache-per-token"] = { value = "N", number = true, help = "bytes of keys and values a token (a model knows)" },
  },
  help = "POLICY.lua returns a function(queue, room) or a policy's table; a shipped policy goes by its name (fifo).\n"
    .. "Each line of LENGTHS.txt is a request: tokens of its prompt, and after spaces its new tokens, when it arrives\n"
    .. "in milliseconds, and how many first tokens it shares, all 0 where absent, and with whom (any name; absent: with\n"
    .. "all that have none). # begins a comment; \"-\" reads standard input.\n"
    .. "The engine's own scheduler runs, so that steps and padding are those of a real run.",
}

local function failed(code, message) return core.error { code = code, op = "simulate", message = message } end

local function policy_of(name)
  if core.file_exists(name) then
    local chunk, err = loadfile(name)
    if not chunk then failed("format", err) end
    return chunk()
  end
  if name:find "%.lua$" then failed("file", "no file " .. name) end
  return pl.policy[name]()
end

local function work_of(path, output)
  if path ~= "-" and not core.file_exists(path) then failed("file", "no file " .. path) end
  local work, number = {}, 0
  for line in path == "-" and io.lines() or io.lines(path) do
    number = number + 1
    local words = {}
    for word in line:gsub("#.*$", ""):gmatch "[^%s,;]+" do
      words[#words + 1] = #words == 4 and word or tonumber(word) or failed("format", ('%s:%d: "%s" is no number'):format(path, number, word))
    end
    if #words > 5 then failed("format", ("%s:%d: expected PROMPT [OUTPUT [ARRIVE_MS [PREFIX_TOKENS [PREFIX]]]]"):format(path, number)) end
    if words[1] then
      work[#work + 1] = { prompt = words[1], output = words[2] or output or 0, arrive_ms = words[3] or 0, prefix_tokens = words[4], prefix = words[5] }
    end
  end
  if #work == 0 then failed("format", path .. ": no lengths") end
  return work
end

local function report(r, work)
  local dropped = {}
  for i, request in ipairs(r.requests) do
    if request.error then dropped[#dropped + 1] = ("  request %d: %s"):format(i, request.error) end
  end
  print(command_line.columns {
    { "requests", #work }, { "steps", r.steps }, { "tokens", r.tokens }, { "shared instead", r.reused_tokens }, { "positions", r.positions },
    { "padding", ("%.1f %%"):format(100 * r.waste) }, { "rows a step", ("%.1f"):format(r.rows / math.max(1, r.steps)) },
    { "time", ("%.6g ms"):format(r.ms) },
    { "waits, half", ("%.6g ms"):format(r.wait_ms.p50) }, { "waits, 99 %", ("%.6g ms"):format(r.wait_ms.p99) },
    { "first token, half", ("%.6g ms"):format(r.first_token_ms.p50) }, { "first token, 99 %", ("%.6g ms"):format(r.first_token_ms.p99) },
    r.peak_bytes > 0 and { "keys and values", ("%d bytes at most"):format(r.peak_bytes) } or nil,
  })
  if #dropped > 0 then print(("%d dropped or failed:\n%s"):format(#dropped, table.concat(dropped, "\n", 1, math.min(5, #dropped)))) end
end

local function run(options, policy, path)
  local chosen, work = policy_of(policy), work_of(path, options.output)
  local cost = { ms_per_step = options.ms_per_step or not options.model and 1 or nil, ms_per_token = options.ms_per_token,
    cache_per_token = options.cache_per_token }
  local settings = { tokens = options.tokens, rows = options.rows, bytes = options.bytes, layout = options.padded and "padded" or nil }
  if options.model then
    settings.ms_per_step, settings.ms_per_token = options.ms_per_step, options.ms_per_token
    cost = pl.load(options.model)
  end
  local r = pl.simulate(chosen, work, cost, settings)
  if options.plot then
    local file = io.open(options.plot, "wb") or failed("file", "cannot write " .. options.plot)
    file:write(timeline.svg(r))
    file:close()
  end
  if options.json then print(core.write_json(r)) else report(r, work) end
  return command_line.ok
end

function simulate.run(options, arguments)
  if #arguments ~= 2 then return command_line.misused(simulate, "name a POLICY.lua and a LENGTHS.txt") end
  local status, err = pl.try(run, options, arguments[1], arguments[2])
  return status or command_line.report(err)
end

return simulate
