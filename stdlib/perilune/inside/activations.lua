-- m:activations: the shapes and statistics of a whole pass, a row an op.
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local recording = require "perilune.inside.recording"
local inspect = require "perilune.show.inspect"
local columns = require "perilune.base.columns"
local terminal = require "perilune.show.terminal"
local core = require "perilune.core"

local activations = {}

local function number(v) return v and (("%.4g"):format(v)) or "" end

local short_path, least_path = 26, 12   -- characters of a path: before columns are left out, and at last
local dropped_first = { "line", "std", "mean", "op", "nan" }   -- on a terminal too narrow for all

-- Takes a column out of a table whose first row is its head.
local function without(rows, name)
  for i, title in ipairs(rows[1]) do
    if title == name then for _, row in ipairs(rows) do table.remove(row, i) end return end
  end
end

-- A table no wider than the terminal: columns are left out, which the last line says, and paths shortened.
local function fitted(rows)
  if not core.is_tty(1) then return "" end
  local width, left_out, longest = terminal.width(), {}, 0
  for _, row in ipairs(rows) do longest = math.max(longest, #row[2]) end
  for _, name in ipairs(dropped_first) do
    if columns.width(rows) - width <= math.max(0, longest - short_path) then break end
    without(rows, name)
    if name == "op" then rows.path = 1 end
    left_out[#left_out + 1] = name
  end
  local over = math.min(math.max(0, longest - least_path), columns.width(rows) - width)
  for _, row in ipairs(over > 0 and rows or {}) do row[rows.path] = columns.shortened(row[rows.path], longest - over) end
  return #left_out > 0 and ("\n(a wider terminal shows %s, too)"):format(table.concat(left_out, ", ")) or ""
end

local function as_text(list)
  local rows = { path = 2, { "op", "path", "shape", "min", "max", "mean", "std", "nan", "line" } }
  for i, row in ipairs(list) do
    rows[i + 1] = { row.op, row.path, row.dtype .. row.shape, number(row.min), number(row.max), number(row.mean), number(row.std),
      row.nan > 0 and tostring(row.nan) or "", row.line or "" }
  end
  local note, right = fitted(rows), {}
  for i, title in ipairs(rows[1]) do right[i] = title ~= "op" and title ~= "path" and title ~= "shape" and title ~= "line" end
  return columns.text(rows, right) .. note
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
