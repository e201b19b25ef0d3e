-- What model calls accept: text, ids, lists of either, batches, padded pairs. All become a batch,
-- checked against the model once, here.
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local layout = require "perilune.run.layout"
local padding = require "perilune.loaded.padding"
local origin = require "perilune.loaded.origin"
local pictures = require "perilune.run.pictures"

local inputs = {}

--- The tokenizer of a model, or an error that says why there is none.
---@param m table
---@param op string
---@return userdata
function inputs.tokenizer(m, op)
  if m.tokenizer then return m.tokenizer end
  return raise("argument", op, "a text needs a tokenizer, and this model has none: " .. (m.tokenizer_reason or "none was loaded"),
    "give ids, or load with the option tokenizer=")
end

-- Two leading bos ids: a template or a text wrote one, and encode put in another. Said once a model.
local function warn_doubled_bos(m, row, r, op)
  local s = rawget(m, "state_")
  local bos = m.tokenizer and m.tokenizer.specials.bos
  if not bos or row[1] ~= bos or row[2] ~= bos or s.doubled_bos then return end
  s.doubled_bos = true
  local text = ("row %d begins with two bos ids (%d): the text wrote one and encode put in another; encode with special=false"):format(r, bos)
  s.warnings[#s.warnings + 1] = text
  core.warn(text, op)
end

--- Raises for an id without an embedding row, naming row, position and both numbers. Warns of two bos ids.
---@param m table
---@param rows integer[][]
---@param op string
function inputs.check_ids(m, rows, op)
  for r, row in ipairs(rows) do
    warn_doubled_bos(m, row, r, op)
    for p = 1, #row do
      local id = row[p]
      if type(id) ~= "number" or id % 1 ~= 0 or id < 0 or id >= m.vocab_size then
        local whole = type(id) == "number" and id % 1 == 0
        raise("argument", op, (whole and "row %d, position %d: id %s has no embedding row (ids go from 0 to %d)"
          or "row %d, position %d: expected an id, a whole number, got %s (ids go from 0 to %d)")
          :format(r, p, options.show(id), m.vocab_size - 1))
      end
    end
  end
end

local function batch_rows(batch)
  local flat, rows, at = batch.ids:tolist(), {}, 0
  for i, length in ipairs(batch.lengths) do
    local row = {}
    for j = 1, length do row[j] = flat[at + j] end
    rows[i], at = row, at + length
  end
  return rows
end

--- Rows longer than the model's positions raise with both numbers.
---@param m table
---@param lengths integer[]
---@param limit integer|nil
---@param op string
---@param what string|nil
function inputs.check_lengths(m, lengths, limit, op, what)
  if not limit then return end
  for r, length in ipairs(lengths) do
    if length > limit then
      raise("length", op, ("%s %d has %d tokens, the model has %d positions"):format(what or "row", r, length, limit),
        'truncate it (m.tokenizer:encode(text, { truncate = { to = "model" } })), or split it into windows')
    end
  end
end

-- A list of texts and rows of ids, in any mixture.
local function rows_of(m, list, op)
  local rows = {}
  for i, item in ipairs(list) do
    if type(item) == "string" then
      rows[i] = inputs.tokenizer(m, op):ids(item)
    elseif kind.is_list(item) then
      rows[i] = item
    elseif kind.of(item) == "Tensor" then
      rows[i] = item:tolist()
    else
      raise("argument", op, ("entry %d of the list: expected a text or a row of ids, got %s"):format(i, options.show(item)))
    end
    if #rows[i] == 0 then raise("argument", op, ("row %d has no tokens"):format(i), "leave it out, or give it a token") end
  end
  return rows
end

local function from_table(m, input, op)
  if input.text ~= nil then return inputs.tokenizer(m, op):encode(input) end
  if input.ids ~= nil or input.mask ~= nil then return layout.pack(input, op) end
  if #input == 0 then
    local key = next(input)
    if key == nil then raise("argument", op, "the input has no rows", "give a text, ids, a list of either, or a batch") end
    raise("argument", op, "unknown key " .. options.show(key),
      key == "features" and "a batch holds them: pl.batch(nil, { inputs = { features = { one [frame, mel] a row } } })"
        or options.unknown(key, { "text", "pair", "ids", "mask", "image", "pixels" }, "keys", op))
  end
  local first = kind.whole(input, op, "the input")[1]
  if type(first) == "number" then
    inputs.check_ids(m, { input }, op)
    return core.batch { input }
  end
  if type(first) == "string" or (type(first) == "table" and first.text ~= nil) then
    local uniform = true
    for _, item in ipairs(input) do uniform = uniform and (type(item) == "string" or (type(item) == "table" and item.text ~= nil)) end
    if uniform then return inputs.tokenizer(m, op):encode(input) end
  end
  local rows = rows_of(m, input, op)
  inputs.check_ids(m, rows, op)
  return core.batch(rows)
end

-- Texts as long as the model's positions, for models that were trained so: what fills them is seen like any token.
local function filled(s, batch)
  local rows = batch_rows(batch)
  for _, row in ipairs(rows) do
    for i = #row + 1, s.c.max_tokens do row[i] = s.c.pad_texts end
  end
  return core.batch(rows)
end

--- Reads an input of forward and trace.
---@param m table
---@param input any
---@param op string
---@param limit integer|nil positions of the model
---@param foreign boolean|nil the option allow_foreign: another tokenizer's batch is meant
---@return userdata batch
---@return table|nil layout the caller's, when the input was padded
function inputs.read(m, input, op, limit, foreign)
  local s, batch, view = rawget(m, "state_"), nil, nil
  origin.check(m, input, op, foreign)
  local name = kind.of(input)
  if m.vocab_size == 0 and name ~= "Batch" and not pictures.are(input) then
    raise("argument", op, ("a %s model reads pictures, got %s"):format(m.family, options.show(input)), 'give { image = "file.png" } or { pixels = tensor }')
  end
  if type(input) == "string" then
    batch = inputs.tokenizer(m, op):encode(input)
  elseif name == "Batch" then
    batch = input
  elseif name == "Tensor" then
    batch = core.batch { input:tolist() }
  elseif pictures.are(input) then
    batch, view = pictures.batch(m, input, op)
  elseif type(input) == "table" then
    batch, view = from_table(m, input, op)
  else
    raise("argument", op, "expected a text, ids, a list of either, a batch or { ids=, mask= }, got "
      .. (type(input) == "number" and "the number " or "") .. options.show(input))
  end
  if batch.has_ids then
    inputs.check_lengths(m, batch.lengths, limit, op)
    inputs.check_ids(m, batch_rows(batch), op)
  end
  if s.c.pad_texts and batch.has_ids and batch.tokenizer then batch = filled(s, batch) end
  if name ~= "Batch" then padding.remember(batch, s.family.padding) end
  return batch, view
end

return inputs
