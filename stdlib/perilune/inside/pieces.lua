-- Tokens as labels of pictures.
local pieces = {}

--- The text of an id as one short word.
---@param m Model
---@param id integer
---@return string
function pieces.of(m, id)
  if not m.tokenizer then return tostring(id) end
  local piece = m.tokenizer:piece(id):gsub("[%c]", function(c) return ("\\x%02X"):format(c:byte()) end):gsub("Ġ", "▁"):gsub("Ċ", "\\n")
  return piece
end

--- Labels of ids.
---@param m Model
---@param ids integer[]
---@return string[]
function pieces.list(m, ids)
  local list = {}
  for i, id in ipairs(ids) do list[i] = pieces.of(m, id) end
  return list
end

--- Labels of what one row of a batch holds: its tokens, or numbers from 1 where it has none (patches, frames).
---@param m Model
---@param batch Batch|nil
---@param count integer
---@return string[]
function pieces.of_row(m, batch, count)
  if batch and batch.has_ids and batch.tokens == count then return pieces.list(m, batch.ids:tolist()) end
  local list = {}
  for i = 1, count do list[i] = tostring(i) end
  return list
end

return pieces
