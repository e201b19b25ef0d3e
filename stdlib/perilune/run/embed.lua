-- m:embed: one vector a text, pooled from the last hidden states, by default as the model's own
-- modules.json says (the layout of sentence-transformers).
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local family = require "perilune.loaded.family"
local pass_runner = require "perilune.loaded.pass_runner"
local forward = require "perilune.run.forward"
local inputs = require "perilune.run.inputs"
local pictures = require "perilune.run.pictures"
local recipes = require "perilune.run.embedding_recipe"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"
local progress = require "perilune.base.progress"

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

local function is_text(value) return type(value) == "string" or type(value) == "table" and type(value.text) == "string" end

-- Whether an input stands for one vector: a text, a pair or a row of ids, not a list of them.
local function is_single(input)
  if pictures.are(input) then return pictures.single(input) end
  return is_text(input) or kind.of(input) == "Tensor" or kind.is_list(input) and type(input[1]) == "number"
end

-- What tok:encode is to cut by, or nil: nothing is cut unless asked.
local function cutting(o, limit)
  local truncate = type(o.truncate) == "table" and o.truncate or {}
  local how = { to = truncate.to or type(o.truncate) ~= "table" and o.truncate or nil, stride = o.stride or truncate.stride,
    windows = o.stride ~= nil or truncate.windows, side = truncate.side, strategy = truncate.strategy }
  if not o.truncate and not o.stride then return nil end
  if how.to == nil or how.to == "model" then how.to = limit end
  if not how.to and how.windows then
    raise("option", "embed", "windows: this model has no limit of its own", "say how long they are: truncate = { windows = true, to = n }")
  end
  return how.to and how or nil
end

-- Texts with their prompt as a batch; anything else as it is.
local function read_texts(m, texts, o, prompt, limit)
  if is_text(texts) then texts = { texts } end
  if not kind.is_list(texts) or not is_text(texts[1]) then
    if o.prompt then raise("option", "embed", "option prompt: it stands before texts, and these are none") end
    if o.truncate or o.stride then
      raise("option", "embed", "option truncate: it cuts texts, and these are none", "cut them where they are encoded")
    end
    return texts
  end
  local prepared = {}
  for i, text in ipairs(texts) do prepared[i] = type(text) == "string" and embed.prepared(m, text, prompt) or text end
  local how = cutting(o, limit)
  if not how then return prepared end
  return inputs.tokenizer(m, "embed"):encode(prepared, { truncate = how })
end

local pooling_names = { "mean", "cls", "first", "last", "max", "mean_sqrt", "weighted_mean", "pooled" }

local spec = { pooling = pooling_names, normalize = "boolean", truncate = "count|string|table", prompt = "string|boolean", stride = "count",
  join = { "mean", "max" }, on_progress = "function", allow_foreign = "boolean", adapter = "string|boolean" }

-- The options, with the recipe where they say nothing.
local function settled(m, opts)
  local o = options.check(opts, spec, "embed")
  if type(o.truncate) == "string" and o.truncate ~= "model" then
    raise("option", "embed", 'option truncate: expected a number of tokens or "model", got ' .. options.show(o.truncate))
  end
  if o.pooling ~= nil and o.normalize ~= nil and o.prompt ~= nil then return o, { o.pooling }, {} end
  local recipe, own = recipe_of(m), pass_runner.open(m, "embed").family.embed or {}
  if not recipe.sentences then recipe.normalize = own.normalize end   -- the family's, where no file says
  return o, o.pooling and { o.pooling } or recipe.pooling or { own.pooling or "mean" }, recipe
end

local most_tokens = 2048   -- of one pass: what bounds its memory, and how often progress is told

-- The last row of the pass that begins with `first`.
local function last_of_pass(lengths, first)
  local tokens, last = lengths[first], first
  while lengths[last + 1] and tokens + lengths[last + 1] <= most_tokens do
    last = last + 1
    tokens = tokens + lengths[last]
  end
  return last
end

-- Tokens of every row; a picture's are its patches.
local function lengths_of(s, batch)
  local lengths, patches = batch.lengths, not batch.has_ids and s.c.picture_tokens or nil
  for r = 1, patches and #lengths or 0 do lengths[r] = patches end
  return lengths
end

-- Pooled vectors of a batch's rows, pass by pass; tick is told the rows.
local function vectors(m, batch, wanted, skipped, adapter, tick)
  local s, parts, first = pass_runner.open(m, "embed"), {}, 1
  local lengths = lengths_of(s, batch)
  local both, is_head = family.two_part(s.family), wanted[1] == "pooled"
  local output = is_head and "pooled" or both and "encoder_last" or "last_hidden_state"
  while first <= #lengths do
    local last, part = last_of_pass(lengths, first), batch
    if first > 1 or last < #lengths then
      local list = {}
      for r = first, last do list[#list + 1] = r end
      part = batch:select(list)
    end
    local out = forward.forward(m, part, { outputs = { output }, decoder = both and { s.decoder_start } or nil,
      adapter = adapter, allow_foreign = true })   -- asked when the batch was read
    local x, of = out[output], both and part or out.batch
    if not is_head and x.shape[1].name == "patch" then x = x:rename { patch = "token" } end
    parts[#parts + 1] = is_head and x or pooled(of, x, wanted, skipped)
    tick(last, #lengths)
    first = last + 1
  end
  return #parts == 1 and parts[1] or core.cat(parts, "batch")
end

-- The vectors of each input's windows as one.
local function join_windows(x, sources, how)
  local joined, first = {}, 1
  for r = 1, #sources do
    if sources[r + 1] ~= sources[r] then
      local rows = x:at { batch = { first, r } }
      joined[#joined + 1] = how == "max" and rows:max "batch" or rows:mean "batch"
      first = r + 1
    end
  end
  return #joined == #sources and x or core.stack(joined, "batch")
end

-- What the recipe and the caller want of a finished vector.
local function finished(x, o, recipe)
  local normalize = o.normalize
  if normalize == nil then normalize = recipe.normalize end
  if normalize then x = x / x:norm "hidden" end
  if recipe.truncate_dim and recipe.truncate_dim < x:size "hidden" then
    x = x:at { hidden = { 1, recipe.truncate_dim } }
    if o.normalize then x = x / x:norm "hidden" end
  end
  return x
end

-- What an empty list gives.
local function no_vectors(s, wanted, recipe)
  local size = (wanted[1] == "pooled" and s.c.projected or s.c.axes.hidden) * #wanted
  return core.zeros({ 0, math.min(size, recipe.truncate_dim or size) }, { axes = { "batch", "hidden" } })
end

-- Tokens that cutting took, by input; nothing where nothing was to be cut.
local function lost_of(batch, o, single)
  if not o.truncate or o.stride then return nil end
  local lost, cut, sum = batch.lost, 0, 0
  for _, n in ipairs(lost) do cut, sum = cut + (n > 0 and 1 or 0), sum + n end
  if cut > 0 then core.warn(("%d of %d texts were cut: %d tokens do not count (the second result says how many)"):format(cut, #lost, sum), "embed") end
  return single and lost[1] or lost
end

--- One vector a text, from the last hidden states (an encoder-decoder's: of its encoder).
---@param m Model
---@param texts any as forward takes it
---@param opts table|nil { pooling=, normalize=, truncate=n|"model", stride=, join="mean"|"max", prompt=name|false, on_progress=,
--- adapter=, allow_foreign= }
---@return Tensor [batch, hidden]; [hidden] of one text
---@return integer|integer[]|nil lost tokens that truncate= cut off
function embed.embed(m, texts, opts)
  local s = pass_runner.open(m, "embed")
  local o, wanted, recipe = settled(m, opts)
  if kind.is_list(texts) and texts[1] == nil then return no_vectors(s, wanted, recipe) end
  if kind.is_list(texts) then kind.whole(texts, "embed", "texts") end
  local limit, source = embed.limit(m)
  local prompt = embed.prompt(m, o.prompt, "embed")
  local single = is_single(texts)
  local of_text = is_text(texts) or kind.is_list(texts) and is_text(texts[1])
  local batch = inputs.read(m, read_texts(m, texts, o, prompt, limit), "embed", not source and limit or nil, o.allow_foreign)   -- ragged now
  if source then embed.check_lengths(batch.lengths, limit, source, "embed") end
  local skipped = skipped_tokens(m, of_text and prompt or "")
  local x = progress.during("embed", o.on_progress, function(tick) return vectors(m, batch, wanted, skipped, o.adapter, tick) end)
  local truncate = type(o.truncate) == "table" and o.truncate or {}
  if o.stride or truncate.windows then x = join_windows(x, batch.windows, o.join) end
  x = finished(x, o, recipe)
  if single then x = x:at { batch = 1 } end
  return x, lost_of(batch, o, single)
end

--- Vectors of the inputs whose windows are a batch's rows.
---@param m Model
---@param batch Batch
---@param opts table|nil { pooling=, normalize=, join= }
---@return Tensor [batch, hidden]
function embed.joined(m, batch, opts)
  local o, wanted, recipe = settled(m, opts)
  local x = vectors(m, batch, wanted, 0, nil, function() end)
  return finished(join_windows(x, batch.windows, o.join), o, recipe)
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
        'truncate = "model" cuts it as published; stride = n reads all of it in windows')
    end
  end
end

return embed
