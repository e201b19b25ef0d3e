-- m:quantization_report: what a model lost of the model before, as a table that prints.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local byte_count = require "perilune.base.byte_count"
local columns = require "perilune.base.columns"
local progress = require "perilune.base.progress"
local kind = require "perilune.base.kind"
local chart = require "perilune.show.chart"
local pass_runner = require "perilune.loaded.pass_runner"
local sample = require "perilune.quantization.sample"
local layers = require "perilune.quantization.layers"
local loss = require "perilune.quantization.loss"

local report = {}

local printed_layers = 12
local foreign = 1000   -- the perplexity of a text that a model does not know the kind of

-- A number of any size in few characters: 0, 0.0123, 1.2e-06.
local function short(v)
  if v == 0 then return "0" end
  return math.abs(v) < 1e-3 and ("%.1e"):format(v) or ("%.4f"):format(v)
end

local function percent(v) return v == 0 and "0 %" or v < 1e-4 and ("%.4f %%"):format(100 * v) or ("%.2f %%"):format(100 * v) end

-- What a divergence means, for people; by what published tables of such figures call small.
local function verdict(r)
  if not r.kl_mean then
    return r.output_change == 0 and "nothing is lost" or r.cosine_min > 0.999 and "answers keep their direction"
      or r.cosine_min > 0.98 and "answers move a little" or "answers move: try them before you rely on them"
  end
  return r.kl_mean ~= r.kl_mean and "its logits are not numbers" or r.kl_mean == 0 and "nothing is lost"
    or r.kl_mean < 0.002 and "hardly to be told apart" or r.kl_mean < 0.02 and "a small loss"
    or r.kl_mean < 0.1 and "a loss that shows" or "a large loss"
end

local function model_lines(r)
  local lines = { ("%s against %s, on %s: %s"):format(r.model, r.reference, r.text, r.verdict) }
  lines[2] = ("weights %s, before %s"):format(byte_count.text(r.bytes), byte_count.text(r.bytes_before))
  if r.kl_mean then
    lines[3] = ("KL divergence %s nats on average, 99 %% below %s; the same top token at %s of positions"):format(short(r.kl_mean),
      short(r.kl_p99), percent(r.same_top))
    if r.perplexity then
      lines[#lines + 1] = ("perplexity %.3f, before %.3f (%+.3f)"):format(r.perplexity, r.perplexity_before, r.perplexity_change)
    end
    lines[#lines + 1] = ("largest change of a logit %s"):format(short(r.logit_change))
  else
    lines[3] = ("%s: cosine %.6f on average, %.6f at least; largest change of a number %s"):format(r.output, r.cosine_mean, r.cosine_min,
      short(r.output_change))
  end
  return lines
end

local function text(r)
  local lines = model_lines(r)
  local rows, lossy = { { "layer, worst first", "weights off", "output off", "before", "after" } }, 0
  for _, one in ipairs(r.layers) do if one.output_error ~= 0 then lossy = lossy + 1 end end
  for i = 1, math.min(lossy, printed_layers) do
    local one = r.layers[i]
    rows[i + 1] = { one.name, percent(one.weight_error), percent(one.output_error), one.bytes_before and byte_count.text(one.bytes_before) or "-",
      one.bytes and byte_count.text(one.bytes) or "-" }
  end
  if lossy > 0 then lines[#lines + 1] = columns.text(rows) end
  if lossy > printed_layers then lines[#lines + 1] = ("and %d layers that lost less"):format(lossy - printed_layers) end
  if #r.layers > lossy then lines[#lines + 1] = ("%d of %d layers lost nothing of their weights"):format(#r.layers - lossy, #r.layers) end
  for _, advice in ipairs(r.advice) do lines[#lines + 1] = "! " .. advice end
  return table.concat(lines, "\n")
end

-- The reference: a model, the path of one, or what the model was made from.
local function open_reference(m, given, op)
  local s = rawget(m, "state_")
  if kind.of(given) == "Model" or type(given) == "table" and rawget(given, "state_") then return given, rawget(given, "path"), false end
  local path = given or s.source or s.path
  local reference = s.load(path, { compute = "f32", head = not given and s.head or nil, device = s.device, tokenizer = false })
  return reference, path == s.path and path .. " as it is stored" or path, true
end

local function expect_alike(m, reference, op)
  local a, b = rawget(m, "state_"), pass_runner.open(reference, op)
  if a.family.name ~= b.family.name or a.head ~= b.head or a.vocab_rows ~= b.vocab_rows then
    raise("argument", op, ("option reference: %s with head %s and %d rows is no reference for %s with head %s and %d rows"):format(b.family.name,
      b.head, b.vocab_rows, a.family.name, a.head, a.vocab_rows), "give the model that this one was made from")
  end
end

-- Error by layer as it is computed, and size against loss.
local function panels(r, in_order)
  local bars = {}
  for i, one in ipairs(in_order) do bars[i] = { i, one.output_error, one.name .. " " .. percent(one.output_error) } end
  local list = { { title = "What each layer lost of its output", x = { label = "layer, in the order they are computed" },
    y = { label = "relative error", log = true }, series = { { kind = "bars", points = bars } } } }
  local lost = r.kl_mean or 1 - r.cosine_mean
  list[2] = { title = "Size against loss", x = { label = "weights, MiB" },
    y = { label = r.kl_mean and "mean KL divergence, nats" or "1 - cosine", log = true },
    series = { { kind = "points", points = { { r.bytes_before / 2 ^ 20, 0, "before" }, { r.bytes / 2 ^ 20, lost, "after" } } } } }
  return list
end

local spec = { reference = "any", plot = "string", tokens = "positive", on_progress = "function", layers = "boolean" }

local function fill(r, m, reference, rows, o, tick)
  local list = o.layers == false and {} or layers.measure(m, reference, rows, tick)
  local in_order = {}
  for i, one in ipairs(list) do in_order[i] = one end
  for key, value in pairs(loss.measure(m, reference, rows, tick)) do r[key] = value end
  r.advice = core.array(layers.advice(list))
  if r.perplexity_before and r.perplexity_before > foreign then
    r.advice[#r.advice + 1] = ("this text is foreign to the model (perplexity %.0f): measure on text of the kind it is for"):format(r.perplexity_before)
  end
  layers.sort(list)
  r.layers, r.verdict = core.array(list), verdict(r)
  r.bytes, r.bytes_before = m:memory().weights, reference:memory().weights
  return in_order
end

--- What `m` lost against its reference: see Model:quantization_report.
---@param m Model
---@param input string|table|nil
---@param opts table|nil
---@return table
function report.make(m, input, opts)
  local op = "quantization_report"
  pass_runner.open(m, op)
  local o = options.check(opts, spec, op)
  local reference, name, own = open_reference(m, o.reference, op)
  local r = { model = rawget(m, "path"), reference = name, compute = rawget(m, "compute"), device = rawget(m, "device") }
  local fine, err = pcall(function()
    expect_alike(m, reference, op)
    local rows
    rows, r.text = sample.rows(m, input, op, o.tokens)
    local in_order = progress.during("quantization_report", o.on_progress, function(tick) return fill(r, m, reference, rows, o, tick) end)
    if o.plot then chart.write(o.plot, panels(r, in_order), "Quantization report of " .. r.model) end
  end)
  if own then reference:close() end
  if not fine then error(err, 0) end
  return setmetatable(r, { __tostring = text })
end

return report
