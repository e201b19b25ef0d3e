-- What a decode step costs beside its kernels: one row, step by step, with the engine's own times.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local submit = require "perilune.serve.submit"
local pass_runner = require "perilune.loaded.pass_runner"

local overhead = {}

-- Parts of a step in order, as the engine names them. The rest of `run` is in kernels.
overhead.parts = { "decide", "batch", "bind", "run", "read", "choose", "events", "rest" }

local function at_share(sorted, share) return sorted[math.max(1, math.ceil(share * #sorted))] end

local function summary(list)
  table.sort(list)
  return { median = at_share(list, 0.5), p99 = at_share(list, 0.99) }
end

-- Adds the times of one answer's decode steps, but for the first, which sizes buffers, and the last,
-- which ends the request.
local function add_answer(m, engine, prompt, new, take)
  submit.submit(m, engine, { ids = prompt, options = { max_new_tokens = new, eos_token_id = {}, do_sample = false,
    reuse = false } }, "bench")
  for step = 1, new do
    engine:step {}
    for _ in engine:events() do end
    if step > 2 and step < new then take(engine:times()) end
  end
end

--- Microseconds of decode steps of one row, greedy, under policy fifo: total, kernels, outside (total
--- less kernels), and outside's parts, each { median=, p99= }; clock_readings: how often a clock was read for
--- this, reading: what that took, which the parts hold, and own: outside less reading.
---@param m Model
---@param opts table { threads=, prompt= (ids), new=, repeats= }
---@return table
function overhead.measure(m, opts)
  submit.check_causal(m, "bench")
  if pass_runner.device(m.device).name ~= "cpu" then
    raise("option", "bench", "--overhead measures steps on the CPU, the model is on " .. m.device, "use --device cpu")
  end
  core.set_threads(opts.threads)
  local engine = submit.engine()
  engine:times(true)
  local lists = { total = {}, kernels = {}, outside = {}, own = {}, readings = {}, reading = {} }
  for _, part in ipairs(overhead.parts) do lists[part] = {} end
  local function take(times)
    times.outside, times.run = times.total - times.kernels, times.run - times.kernels
    times.own = times.outside - times.reading
    for name, list in pairs(lists) do list[#list + 1] = times[name] end
  end
  add_answer(m, engine, opts.prompt, opts.new, function() end)   -- warms up
  for _ = 1, opts.repeats do add_answer(m, engine, opts.prompt, opts.new, take) end
  engine:close()
  local report = { threads = opts.threads, steps = #lists.total, parts_us = {} }
  for _, part in ipairs(overhead.parts) do report.parts_us[part] = summary(lists[part]) end
  for _, name in ipairs { "total", "kernels", "outside", "own", "reading" } do report[name .. "_us"] = summary(lists[name]) end
  report.clock_readings = summary(lists.readings).median
  return report
end

return overhead
