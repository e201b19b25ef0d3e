--- For specs of padding: the same rows in every form a caller may bring them, with rubbish where
--- padding is, and the answers of a form taken apart row by row again.
local pl = require "perilune"

local forms = {}

-- What a careless caller leaves in cells that the mask hides: no id, ids out of any range, real ids.
local rubbish = { 0, -1, 2147483647, 7, -2147483648, 123456789, 0 }

--- A padded pair written by hand. `side`: "left", "right" or "both" (tokens in the middle).
local function by_hand(batch, side, truthy)
  local ids, mask, types, first, longest = {}, {}, {}, {}, 0
  for i, length in ipairs(batch.lengths) do longest = math.max(longest, length) first[i] = 0 end
  local width, all_types, at = longest + 3, batch.type_ids:tolist(), 0
  for i, row in batch:rows() do
    local before = side == "left" and width - row.length or side == "both" and math.floor((width - row.length) / 2) or 0
    ids[i], mask[i], types[i], first[i] = {}, {}, {}, before
    for j = 1, width do
      local inside = j > before and j <= before + row.length
      ids[i][j] = inside and row.ids[j - before] or rubbish[(i * 5 + j) % #rubbish + 1]
      types[i][j] = inside and all_types[at + j - before] or 77
      if truthy then mask[i][j] = inside else mask[i][j] = inside and 1 or 0 end
    end
    at = at + row.length
  end
  return { ids = ids, mask = mask, type_ids = types }, first
end

local function shift_of(batch, view, side)
  local first = {}
  for i, length in ipairs(batch.lengths) do first[i] = side == "left" and view.ids.shape.seq - length or 0 end
  return first
end

--- All forms of a batch: list of { name=, input=, first= (columns before each row; nil: ragged) }.
function forms.all(batch)
  local list = { { name = "ragged", input = batch } }
  for _, side in ipairs { "left", "right" } do
    for _, how in ipairs { { pad_id = 0 }, { pad_id = 9, multiple_of = 16 }, { pad_id = 0, to = 48 } } do
      how.side = side
      local view = batch:padded(how)
      list[#list + 1] = { name = ("%s, width %d, pad id %d"):format(side, view.ids.shape.seq, how.pad_id), input = view,
        first = shift_of(batch, view, side) }
    end
    local view = batch:padded { side = side, pad_id = 0 }
    list[#list + 1] = { name = "packed from " .. side, input = pl.batch_from_padded(view.ids, view.mask), untyped = true }
  end
  for _, side in ipairs { "left", "right", "both" } do
    local pair, first = by_hand(batch, side, side == "right")
    list[#list + 1] = { name = "rubbish, " .. side, input = pair, first = first }
  end
  return list
end

--- Row i of an answer to a form: [token, …] or whatever the row has alone. `lengths` of the rows that
--- the answer's ragged axis has.
function forms.row(answer, i, lengths, first)
  local names = {}
  for a, axis in ipairs(answer.shape) do names[a] = axis.name end
  if names[1] == "token" then
    local before = 0
    for k = 1, i - 1 do before = before + lengths[k] end
    return answer:at { token = { before + 1, before + lengths[i] } }
  end
  if names[2] == "seq" then
    return answer:at { batch = i, seq = { first[i] + 1, first[i] + lengths[i] } }:rename { seq = "token" }
  end
  return answer:at { batch = i }
end

--- Whether every cell of a padded answer outside of row i is zero; true for others.
function forms.clean(answer, i, lengths, first)
  if #answer.shape < 2 or answer.shape[2].name ~= "seq" then return true end
  local width, own = answer.shape.seq, answer:at { batch = i }
  local function zero(from, to) return from > to or own:at { seq = { from, to } }:abs():max() == 0 end
  return zero(1, first[i]) and zero(first[i] + lengths[i] + 1, width)
end

return forms
