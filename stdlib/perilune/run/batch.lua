-- Batches from records: what data loaders call collation.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"
local padding = require "perilune.loaded.padding"

local batch = {}

local op = "collate"
local most_axes = 6   -- of a tensor

-- "pad" pads these with 0, whatever the pad id: no model has a type or a position by its number.
local zero_padded = { type_ids = true, token_type_ids = true, positions = true, position_ids = true, mask = true, attention_mask = true }

local lowest = { i8 = -128, u8 = 0, i32 = -2 ^ 31, i64 = -2 ^ 53 }
local highest = { i8 = 127, u8 = 255, i32 = 2 ^ 31 - 1, i64 = 2 ^ 53 }

local function check_cell(value, dtype, what)
  if type(value) ~= "number" then raise("argument", op, ("%s: expected a number, got %s"):format(what, options.show(value))) end
  local low = lowest[dtype]
  if low and (value % 1 ~= 0 or value < low or value > highest[dtype]) then
    raise("dtype", op, ("%s: %s does not fit %s"):format(what, options.show(value), dtype), 'give the column a dtype: { pad=, dtype="f32" }')
  end
end

-- A column's values by record, tensors of one axis as lists.
local function gather(records, name)
  local values = {}
  for i, record in ipairs(records) do
    local value = record[name]
    if value == nil then
      local known = names_of(record)
      local near = core.did_you_mean(name, known)
      raise("argument", op, ("record %d has no %s"):format(i, name),
        near or #known > 0 and "it has " .. table.concat(known, ", ") or nil)
    end
    values[i] = value
  end
  return values
end

local function rows_of(values, name, dtype)
  local rows, longest = {}, 1
  for i, value in ipairs(values) do
    if kind.of(value) == "Tensor" and #value.shape == 1 then value = value:tolist() end
    if not kind.is_list(value) then
      raise("argument", op, ("record %d: %s must be a list to be padded, got %s"):format(i, name, options.show(value)))
    end
    for j = 1, #value do check_cell(value[j], dtype, ("record %d: %s[%d]"):format(i, name, j)) end
    rows[i], longest = value, math.max(longest, #value)
  end
  return rows, longest
end

local function width_of(rows, longest, name, o)
  local width = type(o.to) == "number" and o.to or longest
  local multiple = o.multiple_of or 1
  width = math.ceil(width / multiple) * multiple
  if width * #rows >= 2 ^ 31 then raise("option", op, ("%s: %d rows of %.0f cells are too many"):format(name, #rows, width)) end
  for i, row in ipairs(rows) do
    if #row > width then
      raise("length", op, ("record %d: %s has %d entries, more than to=%d"):format(i, name, #row, width),
        'cut the records first, or pad with to="longest"')
    end
  end
  return width
end

-- A column padded into [batch, seq], and its mask.
local function padded_column(name, values, pad, dtype, o)
  check_cell(pad, dtype, "column " .. name .. ": pad")
  local rows, longest = rows_of(values, name, dtype)
  local width = width_of(rows, longest, name, o)
  local sizes, axes = { #rows, width }, { "batch", "seq" }
  local cells, mask = core.zeros(sizes, { dtype = dtype, axes = axes }), core.zeros(sizes, { dtype = "i32", axes = axes })
  if pad ~= 0 then cells:set(pad) end
  for i, row in ipairs(rows) do
    if #row > 0 then
      local first = o.side == "left" and width - #row + 1 or 1
      local part = { batch = i, seq = { first, first + #row - 1 } }
      cells:at(part):set(core.tensor(row, { dtype = dtype, axes = { "seq" } }))
      mask:at(part):set(1)
    end
  end
  return cells, mask
end

-- The sizes of a record's nested lists, which must be boxes: every list of a depth as long as the first.
local function read_sizes(value, what, dtype, sizes, depth)
  if type(value) ~= "table" or kind.of(value) then
    if type(value) ~= "boolean" then check_cell(value, dtype, what) end
    if sizes[depth] then raise("shape", op, what .. ": numbers and lists are mixed at one depth") end
    sizes.leaf = depth
    return sizes
  end
  if depth >= most_axes then raise("shape", op, what .. ": lists are nested deeper than the six axes of a tensor") end
  if not kind.is_list(value) then raise("argument", op, what .. ": expected numbers or lists, got a table with names") end
  if sizes.leaf and depth >= sizes.leaf then raise("shape", op, what .. ": numbers and lists are mixed at one depth") end
  if sizes[depth] and sizes[depth] ~= #value then
    raise("shape", op, ("%s has lists of %d and of %d entries"):format(what, sizes[depth], #value), 'pad them: "pad" in place of "stack"')
  end
  sizes[depth] = #value
  for i = 1, #value do read_sizes(value[i], what, dtype, sizes, depth + 1) end
  return sizes
end

local function size_text(sizes) return #sizes == 0 and "one number" or table.concat(sizes, " by ") .. " numbers" end

local function stacked_column(name, values, dtype)
  if kind.of(values[1]) == "Tensor" then
    for i, value in ipairs(values) do
      if kind.of(value) ~= "Tensor" or tostring(value.shape) ~= tostring(values[1].shape) then
        raise("shape", op, ("record %d: %s is %s, record 1 has a Tensor %s"):format(i, name,
          kind.of(value) == "Tensor" and "a Tensor " .. tostring(value.shape) or options.show(value), tostring(values[1].shape)),
          'pad the column: "pad" in place of "stack"')
      end
    end
    local made = core.stack(values, "batch")
    return dtype and made:to(dtype) or made
  end
  local first
  for i, value in ipairs(values) do
    local what = ("record %d: %s"):format(i, name)
    local sizes = size_text(read_sizes(value, what, dtype, {}, 1))
    first = first or sizes
    if sizes ~= first then
      raise("shape", op, ("%s has %s, record 1 has %s"):format(what, sizes, first), 'pad the column: "pad" in place of "stack"')
    end
  end
  local axes, list = { "batch" }, values[1]
  while type(list) == "table" do
    axes[#axes + 1] = #axes == 1 and name or name .. "_" .. #axes
    list = list[1]
  end
  return core.tensor(values, { dtype = dtype, axes = axes })
end

-- "pad" | "stack" | { pad=, dtype= } | { stack=true, dtype= } → how, pad or nil, dtype or nil
local function read_column(name, how)
  if how == "pad" or how == "stack" then return how end
  if type(how) ~= "table" or (how.pad == nil and how.stack == nil) then
    raise("option", op, ('column %s: expected "pad", { pad= } or "stack", got %s'):format(tostring(name), options.show(how)))
  end
  options.check(how, { pad = "number", stack = "boolean", dtype = { "f32", "f16", "bf16", "i32", "i64", "i8", "u8", "bool" } }, op)
  if how.pad ~= nil and how.stack then raise("option", op, ("column %s: padded and stacked contradict each other"):format(name)) end
  return how.stack and "stack" or "pad", how.pad, how.dtype
end

local function read_options(opts)
  local o = options.check(opts, { side = { "left", "right" }, pad_id = "integer", to = "positive|string", multiple_of = "positive",
    tokenizer = "Tokenizer" }, op)
  if type(o.to) == "string" and o.to ~= "longest" then raise("option", op, ('option to: expected "longest" or a whole number, got "%s"'):format(o.to)) end
  local tokenizer = o.tokenizer
  return { to = o.to, multiple_of = o.multiple_of, side = o.side or tokenizer and padding.side(tokenizer) or "right",
    pad_id = o.pad_id or tokenizer and tokenizer.specials.pad or 0 }
end

--- Turns records into tensors, column by column: "pad" pads lists of whole numbers into [batch, seq],
--- with the pad id (type ids, positions and masks with 0), { pad=-100, dtype="f32" } with another
--- number, "stack" takes one number, equal lists or equal tensors a record. What "pad" pads with the
--- pad id gets a mask beside it: `mask` for `ids`, `NAME_mask` for others; so any pad id is safe.
--- Fields that no column names are left out.
---
---     local records = { { ids = { 5, 6, 7 }, score = 0.5 }, { ids = { 8 }, score = 1 } }
---     local b = pl.collate(records, { ids = "pad", score = "stack" })
---     print(b.ids.shape, b.mask.shape, b.score.shape)                       --> [batch=2, seq=3]	[batch=2, seq=3]	[batch=2]
---@param records table[]
---@param columns table<string, any>
---@param opts table|nil { side="left"|"right" (default: the tokenizer's family's, else right), to="longest"|n, multiple_of=, pad_id=, tokenizer= }
---@return table<string, Tensor>
function batch.collate(records, columns, opts)
  local o = read_options(opts)
  if not kind.is_list(records) or #records == 0 then raise("argument", op, "expected a list of records, got " .. options.show(records)) end
  for i, record in ipairs(records) do
    if type(record) ~= "table" or kind.of(record) then raise("argument", op, ("record %d: expected a table, got %s"):format(i, options.show(record))) end
  end
  if type(columns) ~= "table" or kind.of(columns) or next(columns) == nil then
    raise("argument", op, "columns: expected { field = \"pad\" | { pad= } | \"stack\", … }, got " .. options.show(columns))
  end
  local out = {}
  for name, spec in pairs(columns) do
    local how, pad, dtype = read_column(name, spec)
    local values = gather(records, name)
    if how == "stack" then
      out[name] = stacked_column(name, values, dtype)
    else
      local own = pad == nil and not zero_padded[name]
      local mask
      out[name], mask = padded_column(name, values, pad or own and o.pad_id or 0, dtype or "i32", o)
      local mask_name = name == "ids" and "mask" or name .. "_mask"
      if own and columns[mask_name] == nil then out[mask_name] = mask end
    end
  end
  return core.answer(out)
end

return batch
