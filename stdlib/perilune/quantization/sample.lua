-- Rows of ids that losses are measured on.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local text = require "perilune.quantization.text"

local sample = {}

local longest_row = 256   -- tokens; what a step needs of memory grows with it

-- What a text becomes: runs of the model's own ids, none longer than a row.
local function add_row(rows, ids, most)
  for first = 1, #ids, most do
    local row = {}
    for i = first, math.min(first + most - 1, #ids) do row[#row + 1] = ids[i] end
    if #row > 1 or #rows == 0 then rows[#rows + 1] = row end
  end
end

local function add(m, rows, given, op, most)
  if type(given) == "string" then
    local tokenizer = rawget(m, "tokenizer")
    if not tokenizer then raise("argument", op, "the model has no tokenizer: give ids instead of a text") end
    return add_row(rows, tokenizer:ids(given), most)
  end
  if type(given) ~= "table" or #given == 0 then
    raise("argument", op, "expected a text, ids, or a list of either, got " .. options.show(given))
  end
  if type(given[1]) == "number" then return add_row(rows, given, most) end
  for _, one in ipairs(given) do add(m, rows, one, op, most) end
end

--- Rows of ids: of a text, of ids, of a list of either, or of the text that ships. Longer ones are cut into several.
---@param m Model
---@param given string|table|nil
---@param op string
---@param tokens integer|nil no more than so many
---@return integer[][]
---@return string what they are, for people
function sample.rows(m, given, op, tokens)
  local rows, most, kept, count = {}, math.min(longest_row, rawget(m, "max_tokens") or longest_row), {}, 0
  add(m, rows, given == nil and text or given, op, most)
  for _, row in ipairs(rows) do
    if tokens and count >= tokens then break end
    kept[#kept + 1], count = row, count + #row
  end
  return kept, ("%d tokens of %s"):format(count, given == nil and "the text that ships" or "the given text")
end

--- Rows in groups of at most so many tokens (or one row).
---@param rows integer[][]
---@param tokens integer
---@return integer[][][]
function sample.groups(rows, tokens)
  local groups, count = {}, math.huge
  for _, row in ipairs(rows) do
    if count + #row > tokens then groups[#groups + 1], count = {}, 0 end
    local group = groups[#groups]
    group[#group + 1], count = row, count + #row
  end
  return groups
end

return sample
