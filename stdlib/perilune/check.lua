-- Do model and tokenizer belong together? Looked at when a model is loaded, and by pl.check.
local raise = require "perilune.raise"
local options = require "perilune.options"
local kind = require "perilune.kind"
local runtime = require "perilune.runtime"

local pl = {}

local function as_set(value)
  if type(value) == "number" then return { [value] = true }, tostring(value) end
  if type(value) ~= "table" then return nil end
  local set, words = {}, {}
  for i, id in ipairs(value) do
    if type(id) ~= "number" then return nil end
    set[id], words[i] = true, tostring(id)
  end
  return #words > 0 and set or nil, "{" .. table.concat(words, ", ") .. "}"
end

local function overlap(a, b)
  for id in pairs(a) do if b[id] then return true end end
  return false
end

-- bos, eos and pad as the three files say them.
local function compare_special(what, sources, warnings)
  local seen = {}
  for _, source in ipairs(sources) do
    local set, text = as_set(source.value)
    if set then seen[#seen + 1] = { set = set, says = source.name .. " says " .. text } end
  end
  for i = 2, #seen do
    if not overlap(seen[1].set, seen[i].set) then
      local words = {}
      for k, one in ipairs(seen) do words[k] = one.says end
      warnings[#warnings + 1] = what .. "_token_id: " .. table.concat(words, ", ")
      return
    end
  end
end

local function contains(list, value)
  for _, item in ipairs(list) do if item == value then return true end end
  return false
end

--- Errors and warnings of a pair.
---@param s table a model's state: config, generation, family, c, vocab_rows
---@param tokenizer userdata
---@return string[] errors
---@return string[] warnings
function pl.pairing(s, tokenizer)
  local errors, warnings = {}, {}
  local highest = tokenizer.max_base_id   -- base vocabulary and special tokens
  if highest >= s.vocab_rows then
    errors[1] = ("tokenizer id %d has no embedding row (the model has %d): this tokenizer belongs to another model")
      :format(highest, s.vocab_rows)
  end
  for _, what in ipairs { "bos", "eos", "pad" } do
    compare_special(what, {
      { name = "config.json", value = s.config[what .. "_token_id"] },
      { name = "generation_config.json", value = s.generation_file == "generation_config.json" and s.generation[what .. "_token_id"] or nil },
      { name = "the tokenizer", value = tokenizer.specials[what] },
    }, warnings)
  end
  local fitting = s.family.tokenizers
  if fitting and not contains(fitting, tokenizer.kind) then
    warnings[#warnings + 1] = ("a %s tokenizer does not fit family %s (it uses %s)")
      :format(tokenizer.kind, s.family.name, table.concat(fitting, ", "))
  end
  local longest = tokenizer.model_max_length
  if longest and s.c.max_tokens and longest > s.c.max_tokens and longest < 1e9 then
    warnings[#warnings + 1] = ("the tokenizer allows %d tokens, the model has %d positions"):format(longest, s.c.max_tokens)
  end
  return errors, warnings
end

local probe_text = "Once upon a time there was an old man who lived in a little house near the forest."

local function unknown_share(tokenizer)
  local unknown = tokenizer.specials.unk
  if not unknown then return 0 end
  local ids, count = tokenizer:ids(probe_text, { special = false }), 0
  for _, id in ipairs(ids) do if id == unknown then count = count + 1 end end
  return #ids > 0 and count / #ids or 0
end

-- How many pieces the model finds likelier than the true next one, on average, as a share of the
-- vocabulary: 0 for a perfect guess, 0.5 by chance. (Not the score itself: a model of a narrow
-- subject is sure of itself and scores plain sentences below chance.)
local function mean_rank(m, ids)
  local rows, sum = m:forward({ ids }, { rows = "all", outputs = { "logits" } }).logits:tolist(), 0
  for j = 1, #ids - 1 do
    local row, above = rows[j], 0
    local truth = row[ids[j + 1] + 1]
    for i = 1, #row do if row[i] > truth then above = above + 1 end end
    sum = sum + above / #row
  end
  return sum / math.max(1, #ids - 1)
end

local function probe(m, tokenizer, errors, warnings)
  local share = unknown_share(tokenizer)
  if share > 0.3 then
    warnings[#warnings + 1] = ("%.0f %% of a plain English sentence are unknown tokens"):format(100 * share)
  end
  if m.head ~= "causal" or #errors > 0 then return end
  local rank = mean_rank(m, tokenizer:ids(probe_text))
  if rank > 0.3 then
    warnings[#warnings + 1] = ("on a plain sentence the model ranks the true next piece behind %.0f %% of the others (chance: 50 %%): "
      .. "the tokenizer belongs to another model, or the model is untrained"):format(100 * rank)
  end
end

--- Whether a model and a tokenizer belong together: embedding rows, special tokens, kind, lengths.
--- With `probe`, also how a fixed sentence fares, which is what a stranger's tokenizer betrays.
---@param model Model
---@param tokenizer Tokenizer|nil default: the model's own
---@param opts table|nil { probe=true }
---@return table { ok=, errors=, warnings= }
function pl.check(model, tokenizer, opts)
  if kind.of(model) ~= "Model" then raise("argument", "check", "expected a model, got " .. options.show(model)) end
  local s = runtime.open(model, "check")
  local o = options.check(opts, { probe = "boolean" }, "check")
  tokenizer = tokenizer or model.tokenizer
  if tokenizer == nil then
    return { ok = true, errors = {}, warnings = { "no tokenizer: " .. (model.tokenizer_reason or "none was loaded") } }
  end
  if kind.of(tokenizer) ~= "Tokenizer" then
    raise("argument", "check", "expected a tokenizer, got " .. options.show(tokenizer))
  end
  local errors, warnings = pl.pairing(s, tokenizer)
  if o.probe then probe(model, tokenizer, errors, warnings) end
  return { ok = #errors == 0, errors = errors, warnings = warnings }
end

return pl
