-- The side that padded views go to when a caller does not say: the family's, for batches that came
-- from a model's tokenizer or calls; right otherwise.
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local options = require "perilune.base.options"
local origin = require "perilune.loaded.origin"

local padding = {}
local sides = setmetatable({}, { __mode = "k" })

local sample = core.batch { { 0 } }
local padded, select_rows, concat = sample.padded, sample.select, sample.concat

--- The padded view of a batch: ids and mask [batch, seq], and the share of cells that is padding.
---@param opts table|nil { side="left"|"right" (default: the family's), to="longest"|n, multiple_of=, pad_id= }
---@return table { ids=, mask=, positions=, type_ids=, waste= }
local function padded_view(batch, opts)
  local side = sides[batch]
  if side and (opts == nil or (type(opts) == "table" and opts.side == nil)) then
    local with = { side = side }
    for key, value in pairs(opts or {}) do with[key] = value end
    opts = with
  end
  local view = padded(batch, opts)
  origin.remember(view, batch)
  return view
end

local function derived(make)
  return function(batch, ...)
    local made = make(batch, ...)
    sides[made] = sides[batch]
    return made
  end
end

--- The rows of both. Batches that two tokenizers made are refused.
---@param other Batch
---@param opts table|nil { allow_foreign=true }
---@return Batch
local function joined(batch, other, opts)
  kind.expect(batch, "Batch", "concat")
  origin.check_concat(batch, other, options.check(opts, { allow_foreign = "boolean" }, "concat"))
  return concat(batch, other)
end

core.extend("Batch", { padded = padded_view, select = derived(select_rows), concat = derived(joined) })

local encode
--- Notes the family's side for a model's tokenizer, or for a batch that a call read.
---@param object userdata a Tokenizer or a Batch
---@param side string|nil
function padding.remember(object, side)
  sides[object] = side
  if core.type(object) == "Tokenizer" and not encode then
    encode = object.encode
    core.extend("Tokenizer", { encode = derived(encode) })
  end
end

--- The side noted for a tokenizer or a batch, or nil.
---@param object userdata
---@return string|nil
function padding.side(object) return sides[object] end

return padding
