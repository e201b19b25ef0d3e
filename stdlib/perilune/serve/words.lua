-- Options of generation that are texts where the engine takes ids: words that are forbidden, forced or favoured, and
-- texts that end a repetition.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local grammar = require "perilune.serve.grammar"
local rules = require "perilune.serve.generation_rules"

local words = {}

local keys = { "bad_words", "force_words", "sequence_bias", "dry_multiplier" }

--- As in llama.cpp.
words.default_breakers = { "\n", ":", "\"", "*" }

-- The ids that write a word after other text, with a space before it: " dog".
local function ids_of(tokenizer, bytes, text)
  local spaced = text:find "^%s" and text or " " .. text
  local ids = tokenizer:ids(text, { special = false })
  if bytes:text(ids) == spaced then return ids end   -- the tokenizer puts the space itself
  return tokenizer:ids(spaced, { special = false })
end

-- A bias for a text is one for its ids at the beginning of a word, and one inside or at the start.
local function biases(tokenizer, bytes, list)
  local out = {}
  for _, pair in ipairs(list) do
    if type(pair[1]) == "string" then
      local first, second = ids_of(tokenizer, bytes, pair[1]), tokenizer:ids(pair[1], { special = false })
      out[#out + 1] = { first, pair[2] }
      if table.concat(first, " ") ~= table.concat(second, " ") then out[#out + 1] = { second, pair[2] } end
    else
      out[#out + 1] = pair
    end
  end
  return out
end

local function has_text(list)
  for _, pair in ipairs(list or {}) do if type(pair[1]) == "string" then return true end end
  return false
end

--- The options with texts as ids, and the grammar of texts without the bad words. The options themselves where none
--- of them is a text.
---@param m table
---@param s table its state
---@param given table
---@param op string
---@return table options
---@return userdata|nil without
function words.as_ids(m, s, given, op)
  local wanted = false
  for _, key in ipairs(keys) do wanted = wanted or given[key] ~= nil end
  if not wanted then return given end
  rules.check(given, op)
  local out = {}
  for key, value in pairs(given) do out[key] = value end
  local tokenizer = m.tokenizer
  local function bytes()
    return grammar.token_bytes(s, tokenizer, true, op)
  end
  if has_text(given.sequence_bias) then out.sequence_bias = biases(tokenizer, bytes(), given.sequence_bias) end
  if given.force_words then
    local all = {}
    for _, ids in ipairs(given.force_words_ids or {}) do all[#all + 1] = ids end
    for _, text in ipairs(rules.list(given.force_words)) do all[#all + 1] = ids_of(tokenizer, bytes(), text) end
    out.force_words_ids = all
  end
  if (given.dry_multiplier or 0) > 0 and tokenizer then
    out.dry_breakers = bytes():holding(rules.list(given.dry_sequence_breakers or words.default_breakers))
  elseif given.dry_sequence_breakers then
    out.dry_breakers = nil
  end
  local without
  if given.bad_words then
    bytes()   -- raises without a tokenizer
    without = core.grammar { kind = "without", choices = rules.list(given.bad_words) }
  end
  return out, without
end

--- The ids that all forced words come to may be no more than the answer.
---@param request table
---@param op string
function words.check_room(request, op)
  local needed = 0
  for _, ids in ipairs(request.options.force_words_ids or {}) do needed = needed + #ids end
  if needed > request.options.max_new_tokens then
    raise("option", op, ("forced words take %d tokens, max_new_tokens is %d"):format(needed, request.options.max_new_tokens), "allow more tokens")
  end
end

return words
