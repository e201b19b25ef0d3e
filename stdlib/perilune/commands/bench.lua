-- perilune bench: prefill and decode rates of a model, beside the memory bandwidth of this machine.
local pl = require "perilune"
local core = require "perilune.core"
local pass_runner = require "perilune.loaded.pass_runner"
local command_line = require "perilune.program.command_line"
local byte_count = require "perilune.base.byte_count"
local step_overhead = require "perilune.program.step_overhead"
local bench_modes = require "perilune.program.bench_modes"
local speed = require "perilune.program.speed"

local bench = {
  summary = "measure prefill and decode rates, or an encoder's texts a second",
  usage = "perilune bench MODEL [--json] [--modes] [--threads LIST] [options]",
  options = {
    json = { help = "machine-readable" },
    modes = { help = "instead: the ways of loading that fit, in one table: memory, speed, loss against f32" },
    text = { value = "FILE", help = "what losses are measured on, with --modes (default: a text that ships)" },
    plot = { value = "FILE.svg", help = "draw size against loss, with --modes" },
    overhead = { help = "instead: what a decode step of one row costs beside its kernels" },
    threads = { value = "LIST", help = "thread counts to measure, such as 1,2 (default: 1 and all; 1 with --overhead)" },
    prompt = { value = "N", number = true, help = "prompt tokens (default 256, or what the model can take; 16 with --overhead)" },
    new = { value = "N", number = true, help = "generated tokens (default 64; 256 with --overhead)" },
    repeats = { value = "N", number = true, help = "runs of each; the median counts (default 3; 5 with --overhead)" },
    compute = { value = "MODE", help = "auto, f32, bf16, int8" },
    device = { value = "NAME", help = "auto, cpu, cuda, emulator" },
  },
  help = "Decode reads every weight once a token, so it cannot be faster than memory allows: the share\n"
    .. "of the bandwidth measured in the same run says how close it is (small models live in the cache\n"
    .. "and can exceed it).",
}

local function thread_counts(text)
  local all = core.available_threads()
  if not text then return all > 1 and { 1, all } or { 1 } end
  local list = {}
  for word in text:gmatch "[^,]+" do
    local n = tonumber(word)
    if not n or n < 1 or n % 1 ~= 0 then
      core.error { code = "option", op = "bench", message = "--threads needs whole numbers such as 1,2, got \"" .. text .. "\"" }
    end
    list[#list + 1] = n
  end
  return list
end

local function measure(m, threads, prompt, new, repeats)
  core.set_threads(threads)
  local bandwidth, bytes = core.memory_bandwidth(), m:bytes_per_token()
  local row = { threads = threads, bytes_per_token = bytes, memory_bytes_per_s = bandwidth }
  if speed.generates(m) then
    row.prefill_tokens_per_s, row.decode_tokens_per_s = speed.generator(m, prompt, new, repeats)
    row.bandwidth_share = row.decode_tokens_per_s and row.decode_tokens_per_s * bytes / bandwidth
  elseif speed.sees(m) then
    row.pictures_per_s, row.tokens_per_s = speed.pictures(m, repeats)
  else
    row.texts_per_s, row.tokens_per_s = speed.encoder(m, #prompt, repeats)
  end
  return row
end

-- One new token is prefill's: there is no rate of decoding then.
local function rate_text(format, value) return value and format:format(value) or "-" end

local part_help = {
  decide = "the policy, its answer made a plan, pages", batch = "ids, positions, wanted rows", bind = "the pass made ready for them",
  run = "ops, without their kernels", read = "results to the host", choose = "logits to an id",
  events = "commit, text, events, queue entries", rest = "looking for what is new, counts",
}

local function print_overhead(path, report)
  print(("%s: decode steps of one row on the CPU, greedy, policy fifo; microseconds"):format(path))
  for _, run in ipairs(report.runs) do
    print(("%d thread%s, %d steps: total %.1f, kernels %.1f (medians)"):format(run.threads, run.threads == 1 and "" or "s",
      run.steps, run.total_us.median, run.kernels_us.median))
    local rows = { { "", "median", "p99", "" } }
    local function row(name, times, what) rows[#rows + 1] = { name, ("%.2f"):format(times.median), ("%.2f"):format(times.p99), what } end
    for _, part in ipairs(step_overhead.parts) do row(part, run.parts_us[part], part_help[part]) end
    row("outside kernels", run.outside_us, "all of these")
    row("of it the clock", run.reading_us, ("%d readings for this table"):format(run.clock_readings))
    row("the step's own", run.own_us, "what is left: a step costs this when nobody measures")
    print(command_line.columns(rows))
  end
end

-- What a step costs beside its kernels; the exit status.
local function run_overhead(path, m, options)
  local new = math.max(4, options.new or math.min(256, (m.max_tokens or 512) - 32))
  local prompt = speed.sees(m) and {} or speed.prompt_ids(m, math.max(1, math.min(options.prompt or 16, (m.max_tokens or 512) - new)))
  local report = { model = path, family = m.family, compute = m.compute, device = m.device, prompt_tokens = #prompt,
    new_tokens = new, runs = core.array {} }
  for i, threads in ipairs(thread_counts(options.threads or "1")) do
    report.runs[i] = step_overhead.measure(m, { threads = threads, prompt = prompt, new = new, repeats = options.repeats or 5 })
  end
  if options.json then print(core.write_json(report)) else print_overhead(path, report) end
  return command_line.ok
end

local function print_rates(path, m, tier, report)
  local generates = speed.generates(m)
  print(("%s: %s, compute %s, %s %s; %s"):format(path, m.family, m.compute, m.device, tier, generates
    and ("prompt %d tokens, %d new"):format(report.prompt_tokens, report.new_tokens)
    or speed.sees(m) and "pictures" or ("texts of %d tokens"):format(report.prompt_tokens)))
  local rows = { generates and { "threads", "prefill tokens/s", "decode tokens/s", "read per token", "of bandwidth" }
    or speed.sees(m) and { "threads", "pictures/s", "patches/s" } or { "threads", "texts/s", "tokens/s" } }
  for _, run in ipairs(report.runs) do
    rows[#rows + 1] = generates and { run.threads, ("%.0f"):format(run.prefill_tokens_per_s), rate_text("%.0f", run.decode_tokens_per_s),
      byte_count.text(run.bytes_per_token), rate_text("%.0f %%", run.bandwidth_share and 100 * run.bandwidth_share) }
      or { run.threads, ("%.0f"):format(run.texts_per_s or run.pictures_per_s), ("%.0f"):format(run.tokens_per_s) }
  end
  print(command_line.columns(rows))
end

-- The ways of loading; the exit status.
local function run_modes(path, options)
  if options.overhead then return command_line.misused(bench, "--modes and --overhead are two measurements") end
  local report = bench_modes.measure(path, { device = options.device, prompt = options.prompt or 256, new = options.new or 32,
    repeats = options.repeats or 3, text = options.text and core.read_file(options.text) or nil, progress = command_line.progress "measuring" })
  if options.plot then bench_modes.plot(report, options.plot) end
  print(options.json and core.write_json(report) or bench_modes.text(report))
  return command_line.ok
end

function bench.run(options, arguments)
  local path = arguments[1]
  if not path or #arguments > 1 then
    return command_line.misused(bench, "name one model folder")
  end
  for _, name in ipairs { "prompt", "new", "repeats" } do
    local value = options[name]
    if value and (value < 1 or value % 1 ~= 0) then
      return command_line.misused(bench, ("--%s needs a whole number from 1, got %s"):format(name, tostring(value)))
    end
  end
  if options.modes then return run_modes(path, options) end
  local counts = thread_counts(options.threads)
  local m = pl.load(path, { compute = options.compute, device = options.device })
  if options.overhead then return run_overhead(path, m, options) end
  local new = speed.generates(m) and (options.new or 64) or 0
  local most = m.max_tokens and m.max_tokens - new or 256
  local prompt = speed.sees(m) and {} or speed.prompt_ids(m, math.max(1, math.min(options.prompt or 256, most)))
  local device = pass_runner.device(m.device)
  local report = { model = path, family = m.family, compute = m.compute, device = m.device, tier = device.tier,
    prompt_tokens = #prompt, new_tokens = new, runs = core.array {} }
  local progress = command_line.progress "measuring"
  for i, threads in ipairs(counts) do
    progress(i - 1, #counts)
    report.runs[i] = measure(m, threads, prompt, new, options.repeats or 3)
  end
  progress(nil)
  local after = pass_runner.device(m.device)
  report.launches, report.graphs = after.launches - device.launches, after.graph_starts - device.graph_starts
  if options.json then
    print(core.write_json(report))
    return command_line.ok
  end
  print_rates(path, m, device.tier, report)
  if report.launches > 0 then
    print(("%d kernels launched on %s, %d passes each in one call"):format(report.launches, m.device, report.graphs))
  end
  return command_line.ok
end

return bench
