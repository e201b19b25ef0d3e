-- m:activations: the shapes and statistics of a whole pass, a row an op.
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local recording = require "perilune.inside.recording"
local inspect = require "perilune.show.inspect"
local columns = require "perilune.base.columns"

local activations = {}

local function number(v) return v and (("%.4g"):format(v)) or "" end

local function as_text(list)
  local rows = { { "op", "path", "shape", "min", "max", "mean", "std", "nan", "line" } }
  for i, row in ipairs(list) do
    rows[i + 1] = { row.op, row.path, row.dtype .. row.shape, number(row.min), number(row.max), number(row.mean), number(row.std),
      row.nan > 0 and tostring(row.nan) or "", row.line or "" }
  end
  return columns.text(rows, { [4] = true, [5] = true, [6] = true, [7] = true, [8] = true })
end

--- Runs a pass line by line and notes every op's shape and statistics.
---@param m Model
---@param input any
---@param opts table|nil
---@return table[] prints as a table
function activations.of(m, input, opts)
  pass_runner.open(m, "activations")
  local o = options.check(opts, { rows = "string|table", decoder = "table|Batch", decoder_start_token_id = "count", allow_foreign = "boolean" },
    "activations")
  local list = {}
  recording.run(m, function(watched) return watched:forward(input, o) end, function(place)
    local fine, found = pcall(place.t.stats, place.t)
    local row = fine and found or { nan = 0 }
    list[#list + 1] = { op = place.op == "mark" and "=" or place.op, path = place.path, line = place.line, dtype = place.t.dtype,
      shape = inspect.shape_text(place.t), min = row.min, max = row.max, mean = row.mean, std = row.std, nan = row.nan or 0, inf = row.inf }
  end)
  return setmetatable(list, { __tostring = as_text })
end

return activations
