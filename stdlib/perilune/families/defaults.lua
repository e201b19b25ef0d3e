-- What a config.json leaves out: published defaults, other names of keys, and what is said of guesses.
local options = require "perilune.base.options"

local defaults = {}

-- Configs that came from a config.json, with the keys whose value there is null.
local from_files = setmetatable({}, { __mode = "k" })

-- Names of an object's own keys whose value is null.
local function null_keys(text)
  local keys, depth, at = {}, 0, 1
  while true do
    local first, _, what = text:find('(["{}%[%]])', at)
    if not first then return keys end
    at = first + 1
    if what == '"' then
      local last = first
      repeat
        last = text:find('["\\]', last + 1)
        local escaped = text:sub(last, last) == "\\"
        if escaped then last = last + 1 end
      until not escaped
      if depth == 1 and text:find("^%s*:%s*null", last + 1) then keys[text:sub(first + 1, last - 1)] = true end
      at = last + 1
    else
      depth = depth + ((what == "{" or what == "[") and 1 or -1)
    end
  end
end

--- Notes which keys a config.json sets to null: to the published implementation that is a choice,
--- where an absent key means the default of its code.
---@param json table
---@param text string what json was read from; known to be good
function defaults.remember(json, text) from_files[json] = null_keys(text) end

--- Gives keys that a config.json does not have the published defaults. One that is there and null
--- stays so. Does nothing to configs that come from elsewhere (GGUF).
---@param json table
---@param values table<string, any>
function defaults.published(json, values)
  local nulls = from_files[json]
  if not nulls then return end
  for key, value in pairs(values) do
    if json[key] == nil and not nulls[key] then json[key] = value end
  end
end

--- Whether a config came from a config.json.
---@param json table
---@return boolean
function defaults.from_file(json) return from_files[json] ~= nil end

local notes = setmetatable({}, { __mode = "k" })   -- by config: warnings of reading it

--- Notes a warning that loading shall give.
---@param json table
---@param text string
function defaults.warn(json, text)
  notes[json] = notes[json] or {}
  table.insert(notes[json], "config.json: " .. text)
end

--- The warnings that reading a config gave.
---@param json table
---@return string[]
function defaults.warnings(json) return notes[json] or {} end

local guesses = setmetatable({}, { __mode = "k" })   -- by config: sizes that it does not say

--- What is to be said of an error that guessed sizes may be the cause of, or nil.
---@param json table
---@return string|nil
function defaults.guess_hint(json)
  return guesses[json] and "config.json does not say " .. table.concat(guesses[json], ", ") .. ": those are the defaults of the architecture"
end

--- As `published`, for sizes: one that a config.json leaves to the architecture is a guess, and warned of.
---@param json table
---@param values table<string, any>
function defaults.sizes(json, values)
  if not from_files[json] then return end
  local guessed = {}
  for key, value in pairs(values) do
    if json[key] == nil and not from_files[json][key] then guessed[#guessed + 1] = ("%s %s"):format(key, options.show(value)) end
  end
  table.sort(guessed)
  if #guessed > 0 then
    guesses[json] = guessed
    defaults.warn(json, "it leaves sizes to the defaults of the architecture: " .. table.concat(guessed, ", "))
  end
  defaults.published(json, values)
end

--- Sizes that every decoder's config.json may leave out.
---@param json table
---@param vocab integer
---@param hidden integer
---@param ffn integer
---@param layers integer
---@param heads integer
function defaults.decoder_sizes(json, vocab, hidden, ffn, layers, heads)
  defaults.sizes(json, { vocab_size = vocab, hidden_size = hidden, intermediate_size = ffn, num_hidden_layers = layers,
    num_attention_heads = heads })
end

--- Other names that published configs use for keys: the first is read where the second is missing.
---@param json table
---@param names table<string, string>
function defaults.aliases(json, names)
  for other, key in pairs(names) do
    if json[key] == nil then json[key] = json[other] end
  end
end

return defaults
