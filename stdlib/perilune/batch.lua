-- Batches from records, and what lengths would cost.
local core = require "perilune.core"
local raise = require "perilune.raise"
local options = require "perilune.options"

local pl = {}

-- A column of rows, padded into [batch, seq].
local function padded_column(name, rows, pad, side)
  local longest = 0
  for i, row in ipairs(rows) do
    if type(row) ~= "table" then
      raise("argument", "collate", ("record %d: %s must be a list to be padded, got %s"):format(i, name, options.show(row)))
    end
    longest = math.max(longest, #row)
  end
  local cells = {}
  for i, row in ipairs(rows) do
    local cell, shift = {}, side == "left" and longest - #row or 0
    for j = 1, longest do cell[j] = pad end
    for j = 1, #row do cell[shift + j] = row[j] end
    cells[i] = cell
  end
  return core.tensor(cells, { dtype = "i32", axes = { "batch", "seq" } })
end

--- Turns records into tensors, column by column: "pad" (ids, padded with pad_id), { pad=-100 }
--- (another number), or "stack" (one number or equal lists a record).
---@param records table[]
---@param columns table<string, any>
---@param opts table|nil { side="left"|"right", pad_id= }
---@return table<string, Tensor>
function pl.collate(records, columns, opts)
  local o = options.check(opts, { side = { "left", "right" }, pad_id = "count" }, "collate")
  local out = {}
  for name, how in pairs(columns) do
    local rows = {}
    for i, record in ipairs(records) do
      if record[name] == nil then raise("argument", "collate", ("record %d has no %s"):format(i, name)) end
      rows[i] = record[name]
    end
    if how == "pad" or type(how) == "table" then
      local pad = type(how) == "table" and how.pad or o.pad_id or 0
      out[name] = padded_column(name, rows, pad, o.side or "right")
    elseif how == "stack" then
      out[name] = core.tensor(rows, { axes = type(rows[1]) == "table" and { "batch", name } or { "batch" } })
    else
      raise("option", "collate", ('column %s: expected "pad", { pad= } or "stack", got %s'):format(name, options.show(how)))
    end
  end
  return out
end

return pl
