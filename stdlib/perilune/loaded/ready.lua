-- The last step to a model: it fits, its weights are packed, what was odd is told.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local byte_count = require "perilune.base.byte_count"
local progress = require "perilune.base.progress"
local pass_runner = require "perilune.loaded.pass_runner"
local adapters = require "perilune.loaded.adapters"

local ready = {}

local most_warnings = 100

-- A damaged file may be odd a million times over.
local function bound(warnings)
  local more = #warnings - most_warnings
  if more <= 0 then return end
  for i = #warnings, most_warnings + 1, -1 do warnings[i] = nil end
  warnings[most_warnings + 1] = ("%d more warnings are left out"):format(more)
end

-- Raises when a device cannot hold what the model has there; before a weight is read.
local function expect_fit(s)
  local half = s.compute == "f32" and s.checkpoint.main_dtype == "f32" and 'compute="bf16" halves the weights; ' or ""
  for _, name in ipairs(pass_runner.devices(s)) do
    local needed, free = pass_runner.needs(s, 1, 1, name), pass_runner.device(name).free
    local total, most = needed.weights + needed.workspace, s.limits[name]
    local limited = most and most < (free or math.huge)
    if limited then free = most end
    if free and (free > 0 or limited) and total > free then
      raise("memory", "load", ("%s needs %s (weights %s in %s, workspace %s), %s has %s %s"):format(s.path, byte_count.text(total),
        byte_count.text(needed.weights), s.compute, byte_count.text(needed.workspace), name, byte_count.text(free),
        limited and "of max_memory" or "free"),
        half .. 'close other models, take a smaller one or another device, spread it with device_map="auto", '
        .. "or try with allow_oversize = true")
    end
  end
end

--- Packs a prepared model's weights.
---@param s table state, with the options it was loaded with
---@param tokenizer Tokenizer|nil
---@param reason string|nil why there is none
---@param on_progress fun(done: integer, total: integer)|nil
---@return table fields of a Model
function ready.fields(s, tokenizer, reason, on_progress)
  if not s.options.allow_oversize then expect_fit(s) end
  progress.during(s.converted and "quantize" or "load", on_progress, function(tick)
    for _, plan in ipairs(pass_runner.plans(s)) do plan:pack(tick) end
  end)
  bound(s.warnings)
  for _, text in ipairs(s.warnings) do core.warn(text, "load " .. s.path) end
  return {
    state_ = s, tokenizer = tokenizer, tokenizer_reason = not tokenizer and reason or nil, config = core.answer(s.config),
    family = s.family.name, head = s.head, device = s.device, device_map = s.device_map, threads = s.threads or core.threads(),
    compute = s.compute, outliers = s.outliers, cache_dtype = s.cache_dtype, quantization = core.answer(s.recipe),
    max_tokens = s.c.max_tokens, vocab_size = s.vocab_rows, labels = core.answer(s.labels), warnings = core.answer(s.warnings), path = s.path,
    adapters = adapters.list(s),
  }
end

return ready
