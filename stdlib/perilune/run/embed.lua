-- m:embed: one vector a text, pooled from the last hidden states, by default as the model's own
-- modules.json says (the layout of sentence-transformers).
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local family = require "perilune.loaded.family"
local pass_runner = require "perilune.loaded.pass_runner"
local forward = require "perilune.run.forward"
local inputs = require "perilune.run.inputs"
local recipes = require "perilune.run.embedding_recipe"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"

local embed = {}

local function recipe_of(m)
  local s = pass_runner.open(m, "embed")
  if not s.embedding_recipe then
    s.embedding_recipe = recipes.read(s.path)
    for _, text in ipairs(s.embedding_recipe.warnings) do
      s.warnings[#s.warnings + 1] = text
      core.warn(text, "embed")
    end
  end
  return s.embedding_recipe
end

--- How many tokens of a text count in its vector: what sentence_bert_config.json says (max_seq_length),
--- in a folder of sentence-transformers else the tokenizer's own length, and never more than the positions.
---@param m Model
---@return integer|nil limit
---@return string|nil source where it is said; nil: they are the model's positions
function embed.limit(m)
  local s, recipe = pass_runner.open(m, "embed"), recipe_of(m)
  local both = family.two_part(s.family)   -- the encoder's states are the text's
  local limit = both and s.c.max_source or not both and s.c.max_tokens or nil
  local own, source = recipe.max_tokens, recipe.max_source
  if not own and recipe.sentences and m.tokenizer and m.tokenizer.model_max_length then
    own, source = m.tokenizer.model_max_length, "tokenizer_config.json: model_max_length"
  end
  if own and own < (limit or math.huge) then return own, source end
  return limit, nil
end

local function has_no_capitals(tokenizer)
  local large, small = tokenizer:ids("A", { special = false }), tokenizer:ids("a", { special = false })
  return #large == #small and large[1] == small[1]
end

--- The prompt that stands before every text: by name, the file's default, or none for false.
---@param m Model
---@param wanted string|boolean|nil
---@param op string
---@return string
function embed.prompt(m, wanted, op)
  local recipe = recipe_of(m)
  local name, prompts = wanted, recipe.prompts or {}
  if name == nil then name = recipe.default_prompt end
  if not name then return "" end
  if prompts[name] then return prompts[name] end
  return raise("option", op, ("option prompt: this model has no prompt %s"):format(options.show(name)),
    next(prompts) and "it has " .. table.concat(names_of(prompts), ", ") or "it has none")
end

--- A text as the model is to see it: behind the prompt, in small letters where its files say so.
---@param m Model
---@param text string
---@param prompt string
---@return string
function embed.prepared(m, text, prompt)
  text = prompt .. text
  if not recipe_of(m).lower_case or has_no_capitals(m.tokenizer) then return text end
  return core.change_case((text:gsub("Σ", "σ")), "lower")   -- letter by letter, as published
end

-- One row's states [token, hidden] as a vector; `skipped` positions stand before them.
local row_pool = {
  mean = function(row) return row:mean "token" end,
  cls = function(row) return row:at { token = 1 } end,
  last = function(row) return row:at { token = -1 } end,
  max = function(row) return row:max "token" end,
  mean_sqrt = function(row) return row:sum "token" / math.sqrt(row:size "token") end,
  weighted_mean = function(row, skipped)   -- Σ position × state over Σ position
    local n = row:size "token"
    local positions = core.arange(skipped + 1, skipped + n, { dtype = "f32", axes = { "token" } })
    return (row * positions):sum "token" / (n * (n + 1) / 2 + skipped * n)
  end,
}
row_pool.first = row_pool.cls

-- The same of a whole batch, for the modes that have one operation.
local batch_pool = {
  mean = function(batch, x) return batch:mean(x) end,
  cls = function(batch, x) return batch:first(x) end,
  last = function(batch, x) return batch:last(x) end,
}
batch_pool.first = batch_pool.cls

-- Pooled by every mode, one after the other. The first `skipped` tokens of a row do not count.
local function pooled(batch, x, wanted, skipped)
  local parts = {}
  for i, mode in ipairs(wanted) do
    if skipped == 0 and batch_pool[mode] then
      parts[i] = batch_pool[mode](batch, x)
    else
      local rows = batch:split(x)
      for r, row in ipairs(rows) do
        if skipped > 0 then row = row:at { token = { skipped + 1, row:size "token" } } end
        rows[r] = row_pool[mode](row, skipped)
      end
      parts[i] = core.stack(rows, "batch")
    end
  end
  return #parts == 1 and parts[1] or core.cat(parts, "hidden")
end

-- How many tokens of a prompt do not count in the vector, as the model's files say.
local function skipped_tokens(m, prompt)
  if prompt == "" or recipe_of(m).include_prompt then return 0 end
  local ids = m.tokenizer:ids(prompt)
  return #ids - (m.tokenizer:is_special(ids[#ids]) and 1 or 0)
end

-- Texts with their prompt as a batch; anything else as it is. Nothing is cut unless asked.
local function read_texts(m, texts, o, prompt, limit)
  if type(texts) == "string" then texts = { texts } end
  if not kind.is_list(texts) or type(texts[1]) ~= "string" then
    if o.prompt then raise("option", "embed", "option prompt: it stands before texts, and these are none") end
    if o.truncate then raise("option", "embed", "option truncate: it cuts texts, and these are none", "cut them where they are encoded") end
    return texts
  end
  local prepared = {}
  for i, text in ipairs(texts) do prepared[i] = type(text) == "string" and embed.prepared(m, text, prompt) or text end
  local to = o.truncate == "model" and limit or o.truncate
  if not to then return prepared end
  return inputs.tokenizer(m, "embed"):encode(prepared, { truncate = { to = to } })
end

local pooling_names = { "mean", "cls", "first", "last", "max", "mean_sqrt", "weighted_mean", "pooled" }

local spec = { pooling = pooling_names, normalize = "boolean", truncate = "count|string", prompt = "string|boolean" }

-- The options, with the recipe where they say nothing.
local function settled(m, opts)
  local o = options.check(opts, spec, "embed")
  if type(o.truncate) == "string" and o.truncate ~= "model" then
    raise("option", "embed", 'option truncate: expected a number of tokens or "model", got ' .. options.show(o.truncate))
  end
  if o.pooling ~= nil and o.normalize ~= nil and o.prompt ~= nil then return o, { o.pooling }, {} end
  local recipe = recipe_of(m)
  return o, o.pooling and { o.pooling } or recipe.pooling or { "mean" }, recipe
end

--- One vector a text, from the last hidden states (an encoder-decoder's: of its encoder).
---@param m Model
---@param texts any as forward takes it
---@param opts table|nil { pooling=, normalize=, truncate=n|"model", prompt=name|false } (default: what its files say, else the mean)
---@return Tensor [batch, hidden]
function embed.embed(m, texts, opts)
  local s = pass_runner.open(m, "embed")
  local o, wanted, recipe = settled(m, opts)
  local both = family.two_part(s.family)
  local is_head = wanted[1] == "pooled"
  local output = is_head and "pooled" or both and "encoder_last" or "last_hidden_state"
  local limit, source = embed.limit(m)
  local prompt = embed.prompt(m, o.prompt, "embed")
  local is_text = type(texts) == "string" or kind.is_list(texts) and type(texts[1]) == "string"
  local batch = inputs.read(m, read_texts(m, texts, o, prompt, limit), "embed", not source and limit or nil)   -- ragged now
  if source then embed.check_lengths(batch.lengths, limit, source, "embed") end
  local out = forward.forward(m, batch, { outputs = { output }, decoder = both and { s.c.decoder_start or 0 } or nil })
  local x = out[output]
  if not is_head then
    x = pooled(batch, x, wanted, skipped_tokens(m, is_text and prompt or ""))
  end
  local normalize = o.normalize
  if normalize == nil then normalize = recipe.normalize end
  if normalize then x = x / x:norm "hidden" end
  if recipe.truncate_dim and recipe.truncate_dim < x:size "hidden" then
    x = x:at { hidden = { 1, recipe.truncate_dim } }
    if o.normalize then x = x / x:norm "hidden" end
  end
  return x
end

--- Raises for a text with more tokens than count in its vector.
---@param lengths integer[]
---@param limit integer
---@param source string where the number is said
---@param op string
function embed.check_lengths(lengths, limit, source, op)
  for r, length in ipairs(lengths) do
    if length > limit then
      raise("length", op, ("row %d has %d tokens, of which %d count (%s)"):format(r, length, limit, source),
        'truncate = "model" cuts it as published; or split it into windows')
    end
  end
end

return embed
