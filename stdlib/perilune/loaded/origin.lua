-- Which tokenizer made a batch, and whether it is the model's own: the same ids mean other texts to
-- another tokenizer, and nothing in an answer would show it. Rows of ids come from nobody and are taken.
local core = require "perilune.core"
local raise = require "perilune.base.raise"

local origin = {}

local views = setmetatable({}, { __mode = "k" })   -- padded views → the tokenizer of their batch

--- Notes that a padded view was made from a batch.
---@param view table
---@param batch Batch
function origin.remember(view, batch) views[view] = batch.tokenizer end

--- A tokenizer for people: its file, kind and size.
---@param tokenizer Tokenizer
---@return string
function origin.name(tokenizer)
  return ("%s (%s, %d pieces)"):format(tokenizer.path, tokenizer.kind, tokenizer.vocab_size)
end

local function piece(tokenizer, id)
  local fine, text = pcall(tokenizer.piece, tokenizer, id)
  return fine and ('"%s"'):format(text) or "nothing"
end

--- Where two tokenizers differ first, for people: "id 5 is "the" there and "a" here".
---@param there Tokenizer
---@param here Tokenizer
---@return string
function origin.difference(there, here)
  for id = 0, math.max(there.max_id, here.max_id) do
    local one, other = piece(there, id), piece(here, id)
    if one ~= other then return ("id %d is %s there and %s here"):format(id, one, other) end
  end
  return "their added tokens differ"
end

local remedy = "encode the texts with %s, or say allow_foreign = true where these ids are meant"

local function refuse(op, maker, own, whose, encoder)
  raise("pairing", op, ("the batch was made by another tokenizer: %s made it, %s is %s; %s"):format(origin.name(maker), whose,
    origin.name(own), origin.difference(maker, own)), remedy:format(encoder))
end

--- Raises for a batch, or a padded view of one, that another tokenizer than the model's made.
---@param m Model
---@param input any what the call was given
---@param op string
---@param allowed boolean|nil the option allow_foreign
function origin.check(m, input, op, allowed)
  local own = m.tokenizer
  if allowed or own == nil then return end
  local maker
  if core.type(input) == "Batch" then maker = input.tokenizer elseif type(input) == "table" then maker = views[input] end
  if maker == nil or maker:same_vocabulary(own) then return end
  refuse(op, maker, own, "the model's", "m.tokenizer")
end

--- Raises unless rows of both batches may stand in one.
---@param batch Batch
---@param other any
---@param opts table|nil { allow_foreign= }
function origin.check_concat(batch, other, opts)
  if opts and opts.allow_foreign or core.type(other) ~= "Batch" then return end
  local own, maker = batch.tokenizer, other.tokenizer
  if own == nil or maker == nil or maker:same_vocabulary(own) then return end
  refuse("concat", maker, own, "that of this batch", "one tokenizer")
end

return origin
