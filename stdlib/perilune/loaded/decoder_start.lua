-- What an encoder-decoder's answer begins with when nobody gives its first tokens.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local decoder_start = {}

-- A setting's id; files may hold it as a list of one.
local function id_of(s, key)
  local value = s.generation[key]
  if type(value) == "table" and #value == 1 then value = value[1] end
  if value == nil then return nil end
  if type(value) ~= "number" or value % 1 ~= 0 or value < 0 or value >= s.vocab_rows then
    raise("format", "load", ("%s: %s must be an id that the model has (0 to %d), got %s"):format(s.generation_file, key,
      s.vocab_rows - 1, options.show(value)))
  end
  return value
end

--- The id that the model's files give, in the published order: generation_config.json's start, then its
--- beginning of text, then config.json's, then the family's.
---@param s table a model's state, with its vocabulary's size
---@return integer
function decoder_start.of(s)
  local from_file = s.generation_file == "generation_config.json"
  local id = from_file and (id_of(s, "decoder_start_token_id") or id_of(s, "bos_token_id")) or nil
  return id or s.c.decoder_start or 0
end

--- The first tokens of an answer: the caller's, or the start that the caller or the files give.
---@param s table
---@param given table the caller's options: decoder= or decoder_start_token_id=
---@param op string
---@return integer[]|nil ids nil: the option decoder says it
function decoder_start.ids(s, given, op)
  local start = given.decoder_start_token_id
  if start == nil then return given.decoder == nil and { s.decoder_start } or nil end
  if given.decoder ~= nil then
    raise("option", op, "options decoder and decoder_start_token_id contradict each other: both say how an answer begins",
      "leave one of them out")
  end
  if start >= s.vocab_rows then
    raise("option", op, ("option decoder_start_token_id: expected an id the model has, below %d, got %s"):format(s.vocab_rows,
      options.show(start)))
  end
  return { start }
end

--- Raises where a caller says how the answer of a model without an encoder begins.
---@param given table the caller's options
---@param op string
function decoder_start.refuse(given, op)
  for _, key in ipairs { "decoder", "decoder_start_token_id" } do
    if given[key] ~= nil then raise("option", op, ("option %s: this model has no encoder"):format(key)) end
  end
end

return decoder_start
