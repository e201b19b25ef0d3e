-- Grammars that answers keep to: pl.grammar, and the options of generation that make one.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"

local grammar = {}

-- What says what fits → core's name for it.
local sources = { regex = "regex", json_schema = "json_schema", gbnf = "gbnf", choices = "choices" }
local spec = { regex = "string", json_schema = "string|table", gbnf = "string", choices = "table", whitespace = { "none", "some" } }

local function compile(source, value, whitespace)
  local wanted = { kind = sources[source], whitespace = whitespace }
  wanted[source == "choices" and "choices" or "text"] = value
  return core.grammar(wanted)
end

--- A grammar, compiled once, for option `grammar` of any number of calls: a regular expression that the
--- whole answer matches, a JSON schema, a GBNF text whose `root` is the answer, or a list of choices. An
--- answer with a grammar is a whole text of it, or where its length ends it the beginning of one.
---
---     local g = pl.grammar { regex = "[0-9]{1,3}( (km|miles))?" }
---     print(g:accepts "12 km", g:accepts "12 k", g:prefix "12 k")           --> true	false	true
---
--- Regular expressions: characters, `.` (all but a newline), [classes], \d \w \s (ASCII) and \D \W \S,
--- groups, |, * + ? {m,n}, \n \t \xHH \uHHHH, ^ and $ at the ends. JSON schemas: the keywords of drafts 7 to 2020-12 that
--- docs/generation.md lists, among them not, if, contains, multipleOf and patternProperties; oneOf of what excludes each other,
--- allOf of what can be put together, $ref to places of the same schema; any other keyword raises. Members are written in the
--- order of `properties`, which a Lua table has not: its own stand as `required` names them, the rest by
--- name. An object with properties holds no others unless additionalProperties says so. White space:
--- after a comma, a colon and a bracket nothing, a space, or a new line and at most 20 blanks; with
--- whitespace = "none" nowhere.
---@param source table { regex= | json_schema= (JSON text or table) | gbnf= | choices= (texts), whitespace="some"|"none" (of JSON) }
---@return Grammar
function grammar.grammar(source)
  local given, found = options.check(source, spec, "grammar"), nil
  for name in pairs(sources) do
    if given[name] ~= nil then
      if found then raise("option", "grammar", ("options %s and %s contradict each other: a grammar has one source"):format(found, name)) end
      found = name
    end
  end
  if not found then raise("option", "grammar", "there is nothing to make one of", "give regex, json_schema, gbnf or choices") end
  if given.whitespace and found ~= "json_schema" then
    raise("option", "grammar", "option whitespace: only JSON has white space of its own")
  end
  return compile(found, given[found], given.whitespace)
end

-- Option of a request → what it is a grammar of; `grammar` is a Grammar or GBNF.
local names = { "regex", "json_schema", "grammar", "choices" }

-- Grammars of late by what they were made of, oldest first, so that a list of prompts compiles one.
local kept, order = {}, {}
local most_kept = 16

local function remembered(source, value, key)
  key = source .. "\0" .. key
  local found = kept[key]
  if not found then
    found = compile(source, value)
    kept[key], order[#order + 1] = found, key
    if #order > most_kept then kept[table.remove(order, 1)] = nil end
  end
  return found
end

--- The grammar that a request's options ask for; nil where they ask for none.
---@param given table
---@param op string
---@return Grammar|nil
function grammar.of(given, op)
  local found
  for _, name in ipairs(names) do
    if given[name] ~= nil then
      if found then raise("option", op, ("options %s and %s contradict each other: an answer keeps to one"):format(found, name), "leave one of them out") end
      found = name
    end
  end
  if not found then return nil end
  local value = given[found]
  if found == "grammar" then
    if kind.of(value) == "Grammar" then return value end
    return remembered("gbnf", value, value)
  end
  if found == "choices" then
    local lengths = {}
    for i = 1, #value do
      local text = value[i]
      if type(text) ~= "string" then raise("option", op, ("option choices: expected texts, got %s"):format(options.show(text)), "entry " .. i) end
      lengths[i] = #text
    end
    return remembered("choices", value, table.concat(lengths, ",") .. "\0" .. table.concat(value))
  end
  return remembered(found, value, type(value) == "table" and core.write_json(value) or value)
end

--- What the tokens of a model are as bytes, read once.
---@param s table a model's state
---@param tokenizer Tokenizer|nil
---@param continues boolean whether the answer goes on from a text
---@param op string
---@return userdata
function grammar.token_bytes(s, tokenizer, continues, op)
  if not tokenizer then
    raise("option", op, "an answer that keeps to a grammar needs a tokenizer, and this model has none")
  end
  local held = s.token_bytes
  if not held or held.tokenizer ~= tokenizer or held.max_id ~= tokenizer.max_id then
    held = { tokenizer = tokenizer, max_id = tokenizer.max_id }
    s.token_bytes = held
  end
  if not held[continues] then held[continues] = core.token_bytes(tokenizer, continues) end
  return held[continues]
end

return grammar
