-- The caller's padded layout: packed on the way in, and answers brought back into it.
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local layout = {}
layout.__index = layout

local function lists(value) return kind.of(value) == "Tensor" and value:tolist() or value end

local function truthy(cell) return cell == 1 or cell == true end

local function cut(rows, view)
  if rows == nil then return nil end
  local out = {}
  for i, row in ipairs(lists(rows)) do
    local kept = {}
    for j = 1, view.lengths[i] do kept[j] = row[view.first[i] + j] end
    out[i] = kept
  end
  return out
end

-- Positions that count every row from 0 say nothing: after a cache they go on where it ends.
local function own_positions(padded, view)
  local rows = cut(padded.positions, view)
  for _, row in ipairs(rows or {}) do
    for j, position in ipairs(row) do if position ~= j - 1 then return rows end end
  end
  return nil
end

-- What a padded view holds: pl.collate's and batch:padded's.
local keys = { ids = "any", mask = "any", type_ids = "any", positions = "any", waste = "number", labels = "any" }

--- Packs `{ ids=, mask=, type_ids=, positions= }`; a mask with a hole raises with its row.
---@param padded table
---@param op string
---@return userdata batch
---@return table layout
function layout.pack(padded, op)
  options.check(padded, keys, op)
  if padded.ids == nil then raise("argument", op, "ids are missing: a padded pair is { ids=, mask= }") end
  if padded.mask == nil then
    raise("argument", op, "padded ids need their mask: the pad id may be a real token",
      "give { ids=, mask= }, or rows without padding: pl.batch(rows)")
  end
  local batch = core.batch_from_padded(padded.ids, padded.mask, op)
  local view = setmetatable({ first = {}, lengths = batch.lengths, width = 0 }, layout)
  for i, row in ipairs(lists(padded.mask)) do
    view.width = math.max(view.width, #row)
    view.first[i] = 0
    while not truthy(row[view.first[i] + 1]) do view.first[i] = view.first[i] + 1 end
  end
  local positions = own_positions(padded, view)
  if padded.type_ids ~= nil or positions then
    batch = core.batch(cut(padded.ids, view), { type_ids = cut(padded.type_ids, view), positions = positions })
  end
  view.batch = batch
  return batch, view
end

local function axis_names(t)
  local names, sizes = {}, {}
  for i, axis in ipairs(t.shape) do names[i], sizes[i] = axis.name, axis.size end
  return names, sizes
end

-- [token, head, key] of a row becomes [head, query, key] at the row's own columns of both.
local function pad_weights(view, t)
  local heads = t.shape.head
  local out = core.zeros({ #view.lengths, heads, view.width, view.width }, { dtype = t.dtype, axes = { "batch", "head", "query", "key" } })
  for i, part in ipairs(view.batch:split(t)) do
    local length, first = view.lengths[i], view.first[i]
    local columns = { first + 1, first + length }
    local own = part:at { key = { 1, length } }:rename { token = "query" }:order("head", "query", "key")
    out:set(own, { batch = i, query = columns, key = columns })
  end
  return out
end

--- A ragged answer in the caller's layout: [token, …] as [batch, seq, …] with zeros outside rows;
--- attention weights [token, head, key] as [batch, head, query, key]. Others as they are.
---@param t userdata
---@return userdata
function layout:pad(t)
  local names, sizes = axis_names(t)
  if names[1] ~= "token" then return t end
  if #names == 3 and names[2] == "head" and names[3] == "key" then return pad_weights(self, t) end
  names[1], sizes[1] = "seq", self.width
  table.insert(names, 1, "batch")
  table.insert(sizes, 1, #self.lengths)
  local out = core.zeros(sizes, { dtype = t.dtype, axes = names })
  for i, part in ipairs(self.batch:split(t)) do
    out:set(part:rename { token = "seq" }, { batch = i, seq = { self.first[i] + 1, self.first[i] + self.lengths[i] } })
  end
  return out
end

return layout
