-- What a model is, as a short text: weights, configuration, defaults of generation, what its tokenizer
-- does, its chat templates. The same on every machine and wherever the folder lies.
local bit = require "bit"

local fingerprint = {}

-- Texts that a changed setting of a tokenizer answers differently: spaces, case, accents composed and not,
-- scripts, digits, marks, code, what is cut at the edges.
local texts = {
  "Hello world", " leading and trailing ", "two  spaces\tand a tab\nnew line\r\nagain\n\n",
  "It's CamelCase, don't SHOUT! (really?) e-mail@example.org", "12345 3.14159 1,000,000 ½ Ⅳ",
  "café cafe\204\129 naïve Ångström ﬁne ＡＢ", "Привет, мир", "你好世界。日本語テキスト", "مرحبا بالعالم", "한국어 हिन्दी",
  "😀 👩\226\128\141💻 € \194\160 \226\128\139", "def f(x):\n    return {'a': x**2}  # ok",
}

-- Two 32-bit FNV-1a sums of different starts and order, as 16 hexadecimal digits.
local function digest(text)
  local a, b = bit.tobit(2166136261), bit.tobit(3335557711)
  for i = 1, #text do
    local byte = text:byte(i)
    a, b = bit.bxor(a, byte), bit.bxor(bit.rol(b, 5), byte)
    a = bit.tobit(bit.lshift(a, 24) + a * 403)   -- times 2^24 + 403
    b = bit.tobit(bit.lshift(b, 24) + b * 403)
  end
  return bit.tohex(a) .. bit.tohex(b)
end

-- A value as text, keys sorted.
local function canonical(value, out)
  local t = type(value)
  if t == "number" then
    local short = ("%.15g"):format(value)
    out[#out + 1] = tonumber(short) == value and short or ("%.17g"):format(value)
  elseif t == "table" then
    local keys = {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys, function(x, y)
      if type(x) ~= type(y) then return type(x) < type(y) end
      return x < y
    end)
    out[#out + 1] = "{"
    for _, key in ipairs(keys) do
      out[#out + 1] = type(key) .. ":" .. tostring(key) .. "="
      canonical(value[key], out)
      out[#out + 1] = ";"
    end
    out[#out + 1] = "}"
  else
    out[#out + 1] = t .. ":" .. #tostring(value) .. ":" .. tostring(value)
  end
  return out
end

--- A value as text, the same for equal values.
---@param value any
---@return string
function fingerprint.canonical(value) return table.concat(canonical(value, {})) end

local function digest_of(value) return digest(fingerprint.canonical(value)) end

--- A configuration without what says nothing of what is computed: names of folders and versions.
---@param json table
---@return table
function fingerprint.settings(json)
  local out = {}
  for key, value in pairs(json) do
    if key ~= "_name_or_path" and key ~= "transformers_version" and key ~= "_from_model_config" then out[key] = value end
  end
  return out
end

--- The ids that have a role, as a plain table.
---@param tokenizer Tokenizer
---@return table<string, integer>
function fingerprint.specials(tokenizer)
  local out, all = {}, tokenizer.specials
  for _, role in ipairs { "bos", "eos", "pad", "unk", "cls", "sep", "mask" } do out[role] = all[role] end
  return out
end

--- What a tokenizer does with fixed texts.
---@param tokenizer Tokenizer
---@return table
function fingerprint.behaviour(tokenizer)
  local out = { specials = fingerprint.specials(tokenizer), max_id = tokenizer.max_id, model_max_length = tokenizer.model_max_length, rows = {} }
  local spelled = { "a" }
  for _, role in ipairs { "bos", "eos", "unk", "cls", "sep", "mask", "pad" } do
    local id = tokenizer.specials[role]
    if id then spelled[#spelled + 1] = tokenizer:piece(id) .. "b" end
  end
  local all = { table.concat(spelled, " ") }
  for _, text in ipairs(texts) do all[#all + 1] = text end
  for i, text in ipairs(all) do
    local with, plain = tokenizer:ids(text), tokenizer:ids(text, { special = false })
    out.rows[i] = { with, plain, tokenizer:decode(with), tokenizer:decode(with, { special = true }), tokenizer:decode(plain) }
  end
  out.pair = tokenizer:encode({ text = texts[1], pair = texts[4] }):row(1).ids
  return out
end

--- Jinja sources by name.
---@param tokenizer Tokenizer
---@return table<string, string>
function fingerprint.templates(tokenizer)
  local fine, sources = pcall(function() return tokenizer.chat_templates end)
  return fine and sources or {}
end

--- The fingerprint's parts, 16 hexadecimal digits each, or "none".
---@param s table a model's state
---@param tokenizer Tokenizer|nil
---@return table<string, string> weights, config, generation, tokenizer, template
function fingerprint.parts(s, tokenizer)
  local own_generation = s.generation_file == "generation_config.json"
  local template = tokenizer and fingerprint.templates(tokenizer)
  return { weights = s.checkpoint:fingerprint(), config = digest_of(fingerprint.settings(s.config)),
    generation = own_generation and digest_of(fingerprint.settings(s.generation)) or "none",
    tokenizer = tokenizer and digest_of(fingerprint.behaviour(tokenizer)) or "none",
    template = template and next(template) and digest_of(template) or "none" }
end

--- One line from the parts.
---@param s table
---@param parts table<string, string>
---@return string "family-head-digest"
function fingerprint.text(s, parts)
  return s.family.name .. "-" .. s.head .. "-" .. digest_of(parts)
end

return fingerprint
