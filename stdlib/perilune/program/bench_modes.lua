-- perilune bench --modes: the ways of loading a model, measured beside each other: memory, speed, and what they lose
-- against the same file computed in f32.
local pl = require "perilune"
local core = require "perilune.core"
local byte_count = require "perilune.base.byte_count"
local chart = require "perilune.show.chart"
local command_line = require "perilune.program.command_line"
local speed = require "perilune.program.speed"

local bench_modes = {}

local kept = { "kl_mean", "kl_p99", "same_top", "perplexity", "logit_change", "cosine_mean", "cosine_min", "output_change" }

-- One way: loaded, measured, closed.
local function measure(path, way, reference, o)
  local m = pl.load(path, way.options)
  local row = { how = way.how, options = way.options, weights = m:memory().weights, cache_per_token = m:memory().cache_per_token }
  if speed.generates(m) then
    local prompt = speed.prompt_ids(m, math.max(1, math.min(o.prompt, (m.max_tokens or o.prompt + o.new) - o.new)))
    row.prefill_tokens_per_s, row.decode_tokens_per_s = speed.generator(m, prompt, o.new, o.repeats)
  else
    row.texts_per_s, row.tokens_per_s = speed.encoder(m, math.min(o.prompt, m.max_tokens or o.prompt), o.repeats)
  end
  local lost = m:quantization_report(o.text, { reference = reference, layers = false, tokens = o.tokens })
  for _, key in ipairs(kept) do row[key] = lost[key] end
  m:close()
  return row, lost
end

--- Measures all ways that fit.
---@param path string
---@param o table { device=, prompt=, new=, repeats=, text=, tokens=, progress= }
---@return table { model=, device=, tier=, text=, reference=, perplexity=, ways={ … } }
function bench_modes.measure(path, o)
  local ways, list = pl.advise(path, { device = o.device }), core.array {}
  local reference = pl.load(path, { compute = "f32", device = o.device })
  local report = { model = path, device = reference.device, reference = 'compute="f32"', ways = list, generates = speed.generates(reference) }
  for i, way in ipairs(ways) do
    o.progress(i - 1, #ways)
    if way.fits then
      local row, lost = measure(path, way, reference, o)
      list[#list + 1], report.text, report.perplexity = row, lost.text, lost.perplexity_before
    end
  end
  o.progress(nil)
  reference:close()
  return report
end

local function rate(value) return value and ("%.0f"):format(value) or "-" end

local function short(v) return v == 0 and "0" or v < 1e-3 and ("%.1e"):format(v) or ("%.4f"):format(v) end

local function loss_cells(row)
  if row.kl_mean then
    return short(row.kl_mean), row.perplexity and ("%.3f"):format(row.perplexity) or "-", ("%.1f %%"):format(100 * row.same_top)
  end
  return ("%.5f"):format(row.cosine_min), short(row.output_change)
end

--- The table, for people.
---@param r table as measure gives it
---@return string
function bench_modes.text(r)
  local rows = { r.generates and { "how", "weights", "a token's cache", "prefill tokens/s", "decode tokens/s", "KL", "perplexity", "same top" }
    or { "how", "weights", "texts/s", "tokens/s", "cosine at least", "largest change" } }
  if not r.generates and r.ways[1] and r.ways[1].kl_mean then
    rows[1] = { "how", "weights", "texts/s", "tokens/s", "KL", "perplexity", "same top" }
  end
  for _, row in ipairs(r.ways) do
    local cells = r.generates and { row.how, byte_count.text(row.weights), byte_count.text(row.cache_per_token), rate(row.prefill_tokens_per_s),
      rate(row.decode_tokens_per_s) } or { row.how, byte_count.text(row.weights), rate(row.texts_per_s), rate(row.tokens_per_s) }
    for _, cell in ipairs { loss_cells(row) } do cells[#cells + 1] = cell end
    rows[#rows + 1] = cells
  end
  local against = r.perplexity and ("; its perplexity is %.3f"):format(r.perplexity) or ""
  return ("%s on %s; losses against %s, on %s%s\n%s"):format(r.model, r.device, r.reference, r.text or "nothing", against, command_line.columns(rows))
end

--- Draws size against loss.
---@param r table
---@param path string
function bench_modes.plot(r, path)
  local points = {}
  for i, row in ipairs(r.ways) do points[i] = { row.weights / 2 ^ 20, row.kl_mean or 1 - row.cosine_mean, row.how } end
  chart.write(path, { { title = "Size against loss: " .. r.model, x = { label = "weights, MiB" },
    y = { label = r.ways[1] and r.ways[1].kl_mean and "mean KL divergence, nats" or "1 - cosine", log = true },
    series = { { kind = "points", points = points } } } }, "Ways of loading " .. r.model)
end

return bench_modes
