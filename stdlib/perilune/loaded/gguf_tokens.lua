-- A tokenizer as GGUF metadata, from the files of its folder; and whether it cuts texts as before.
local core = require "perilune.core"
local raise = require "perilune.base.raise"

local gguf_tokens = {}

-- Token types as GGUF numbers them.
local normal, unknown, control, user, unused, byte = 1, 2, 3, 4, 5, 6

local gpt2_pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

local texts = { "Hello world", " leading and  two spaces\n\nnew lines\t tab", "It's CamelCase, don't SHOUT! (really?) 12345 3.14159",
  "café Ångström ﬁne", "Привет, мир 你好世界。日本語", "😀 👩\226\128\141💻 € x = y**2 # ok", "a", "" }

local function refuse(op, path, why)
  return raise("unsupported", op, ("the tokenizer of %s is not written to GGUF: %s"):format(path, why), "save the model as a folder of safetensors")
end

-- ---------------------------------------------------------------- what files say

-- Steps of a pre-tokenizer of tokenizer.json, one after the other.
local function steps_of(one, list)
  if type(one) ~= "table" or one.type == nil then return list end
  if one.type == "Sequence" then
    for _, step in ipairs(one.pretokenizers) do steps_of(step, list) end
  else
    list[#list + 1] = one
  end
  return list
end

-- The patterns that cut a text, and whether bytes become letters; nil for steps that patterns cannot say.
local function patterns_of(json)
  local patterns, bytes = {}, false
  for _, step in ipairs(steps_of(json.pre_tokenizer, {})) do
    if step.type == "Split" and step.pattern.Regex then
      patterns[#patterns + 1] = step.pattern.Regex
    elseif step.type == "Digits" and step.individual_digits then
      patterns[#patterns + 1] = "\\p{N}"
    elseif step.type == "ByteLevel" then
      bytes = true
      if step.use_regex ~= false then patterns[#patterns + 1] = gpt2_pattern end
    else
      return nil
    end
  end
  return patterns, bytes
end

local function same_list(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

-- The published name of a way to cut; those that put no token first before others.
local function cut_name(patterns, ignore_merges)
  local found
  for _, cut in ipairs(core.gguf_cuts()) do
    if same_list(cut.patterns, patterns) and cut.ignore_merges == (ignore_merges or false) then
      local preferred = { ["gpt-2"] = true, ["llama-bpe"] = true, qwen2 = true, smollm = true, tekken = true, ["gpt-4o"] = true }
      if preferred[cut.name] then return cut.name end
      found = found or cut.name
    end
  end
  return found
end

-- Ids of a table text → id, as a list by position; added tokens take their places.
local function by_id(vocab, added)
  local list, kinds, most = {}, {}, -1
  for text, id in pairs(vocab) do list[id + 1], kinds[id + 1], most = text, normal, math.max(most, id) end
  for _, token in ipairs(added or {}) do
    list[token.id + 1], kinds[token.id + 1], most = token.content, token.special and control or user, math.max(most, token.id)
  end
  for i = 1, most + 1 do
    if not list[i] then list[i], kinds[i] = ("[UNUSED%d]"):format(i - 1), unused end
  end
  return list, kinds
end

local function read_merges(merges)
  local list = {}
  for i, merge in ipairs(merges) do list[i] = type(merge) == "table" and merge[1] .. " " .. merge[2] or merge end
  return list
end

-- Byte pairs over letters that stand for bytes.
local function byte_pairs(s, json, op)
  local patterns, bytes = patterns_of(json)
  local name = bytes and cut_name(patterns, json.model.ignore_merges)
  if not name then refuse(op, s.path, "no published name stands for how it cuts texts") end
  local list, kinds = by_id(json.model.vocab, json.added_tokens)
  return { model = "gpt2", texts = list, types = kinds, extra = { { "tokenizer.ggml.pre", "string", name },
    { "tokenizer.ggml.merges", "array of string", read_merges(json.model.merges) } } }
end

-- Pieces of characters with spaces as U+2581: a piece's score falls with the merge that makes it.
local function character_pairs(json)
  local list, kinds = by_id(json.model.vocab, json.added_tokens)
  local rank, scores = {}, {}
  for i, merge in ipairs(read_merges(json.model.merges)) do
    local text = merge:gsub(" ", "", 1)
    rank[text] = rank[text] or i
  end
  for i, text in ipairs(list) do
    scores[i] = kinds[i] == normal and -(rank[text] or 0) or 0
    if text:find "^<0x%x%x>$" then kinds[i] = byte end
    if text == json.model.unk_token then kinds[i] = unknown end
  end
  return { model = "llama", texts = list, types = kinds, scores = scores, extra = { { "tokenizer.ggml.pre", "string", "default" } } }
end

-- Words: what begins one is marked, what goes on with one is not.
local function word_pieces(json)
  local list, kinds = by_id(json.model.vocab, json.added_tokens)
  local prefix = json.model.continuing_subword_prefix or "##"
  for i, text in ipairs(list) do
    if kinds[i] == normal then
      list[i] = text:sub(1, #prefix) == prefix and #text > #prefix and text:sub(#prefix + 1) or "▁" .. text
    end
  end
  return { model = "bert", texts = list, types = kinds, extra = {} }
end

local function from_sentencepiece(s, path, op)
  local file = core.sentencepiece(path)
  if file.model ~= "bpe" and file.model ~= "unigram" then refuse(op, s.path, "it is a SentencePiece model of kind " .. file.model) end
  local extra = { { "tokenizer.ggml.pre", "string", "default" }, { "tokenizer.ggml.add_space_prefix", "boolean", file.add_space_prefix },
    { "tokenizer.ggml.remove_extra_whitespaces", "boolean", file.remove_extra_whitespaces } }
  if file.charsmap ~= "" then
    local bytes = {}
    for i = 1, #file.charsmap do bytes[i] = file.charsmap:byte(i) end
    extra[#extra + 1] = { "tokenizer.ggml.precompiled_charsmap", "array of u8", bytes }
  end
  local notes = {}
  if file.model == "bpe" and (file.charsmap ~= "" or file.remove_extra_whitespaces) then
    notes[1] = "the tokenizer rewrites texts first (its charsmap, doubled spaces): the file says so, llama.cpp does not read it"
  end
  return { model = file.model == "bpe" and "llama" or "t5", notes = notes, texts = file.texts, types = file.types, scores = file.scores, extra = extra }
end

local function read(s, op)
  local json_path, model_path = s.path .. "/tokenizer.json", s.path .. "/tokenizer.model"
  if not core.file_exists(model_path) then model_path = s.path .. "/spiece.model" end
  if core.file_exists(json_path) then
    local json = core.read_json(json_path)
    local model = json.model or {}
    if model.type == "WordPiece" then return word_pieces(json) end
    if model.type ~= "BPE" and model.merges == nil then refuse(op, s.path, "it is of kind " .. tostring(model.type)) end
    return model.byte_fallback and character_pairs(json) or byte_pairs(s, json, op)
  end
  if core.file_exists(model_path) then return from_sentencepiece(s, model_path, op) end
  return refuse(op, s.path, "there is no tokenizer.json, tokenizer.model or spiece.model in the folder")
end

-- ---------------------------------------------------------------- keys

local roles = { bos = "bos", eos = "eos", unk = "unknown", pad = "padding", mask = "mask", sep = "seperator", cls = "cls" }

-- Whether ids begin or end with a token that nobody asked for.
local function adds(tokenizer, id, first)
  if not id then return false end
  local ids = tokenizer:ids("a")
  return ids[first and 1 or #ids] == id
end

-- Rows of the embedding that no token has.
local function fill(found, rows)
  for i = #found.texts + 1, rows do
    found.texts[i], found.types[i] = ("[PAD%d]"):format(i - 1), unused
    if found.scores then found.scores[i] = 0 end
  end
end

--- The keys of a tokenizer. An empty list where the model has none.
---@param s table a model's state
---@param tokenizer Tokenizer|nil
---@param op string
---@return table[] list of { key, kind, value }
---@return string[] notes for people
function gguf_tokens.of(s, tokenizer, op)
  if not tokenizer then return { { "tokenizer.ggml.model", "string", "no_vocab" } }, {} end
  local found, specials = read(s, op), tokenizer.specials
  for _, token in ipairs(tokenizer.added_tokens) do
    if token.id >= #found.texts then fill(found, token.id) end
    found.texts[token.id + 1], found.types[token.id + 1] = token.piece, token.special and control or user
    if found.scores then found.scores[token.id + 1] = found.scores[token.id + 1] or 0 end
  end
  if specials.unk and found.scores then found.types[specials.unk + 1] = unknown end
  fill(found, s.vocab_rows)
  local keys = { { "tokenizer.ggml.model", "string", found.model }, { "tokenizer.ggml.tokens", "array of string", found.texts },
    { "tokenizer.ggml.token_type", "array of i32", found.types } }
  if found.scores then keys[#keys + 1] = { "tokenizer.ggml.scores", "array of f32", found.scores } end
  for _, pair in ipairs(found.extra) do keys[#keys + 1] = pair end
  for role, name in pairs(roles) do
    if specials[role] then keys[#keys + 1] = { ("tokenizer.ggml.%s_token_id"):format(name), "u32", specials[role] } end
  end
  keys[#keys + 1] = { "tokenizer.ggml.add_bos_token", "boolean", adds(tokenizer, specials.bos or specials.cls, true) }
  keys[#keys + 1] = { "tokenizer.ggml.add_eos_token", "boolean", found.model ~= "bert" and adds(tokenizer, specials.eos, false) }
  for name, source in pairs(tokenizer.chat_templates) do
    keys[#keys + 1] = { "tokenizer.chat_template" .. (name == "default" and "" or "." .. name), "string", source }
  end
  return keys, found.notes or {}
end

--- Raises, and takes the file away, where its tokenizer cuts texts otherwise.
---@param path string
---@param tokenizer Tokenizer
---@param op string
function gguf_tokens.verify(path, tokenizer, op)
  local fine, other = pcall(core.tokenizer, path)
  local why = not fine and tostring(other) or nil
  for _, text in ipairs(texts) do
    if why then break end
    local ids, theirs = tokenizer:ids(text), other:ids(text)
    if not same_list(ids, theirs) then why = ('as GGUF keeps it, it reads "%s" otherwise'):format(text) end
  end
  if not why then return end
  os.remove(path)
  refuse(op, tokenizer.path, why)
end

return gguf_tokens
