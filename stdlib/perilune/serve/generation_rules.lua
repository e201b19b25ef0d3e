-- What the options of generation may be: one set of rules for what a caller gives and for what a model's
-- files say, so that a wrong value is told with its place, whoever wrote it.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"

local rules = {}

--- Options with the names of the published files → their kinds.
rules.published = {
  max_new_tokens = "count", min_new_tokens = "count", max_length = "positive", min_length = "count",
  do_sample = "boolean", temperature = "number", top_k = "count", top_p = "number", min_p = "number",
  typical_p = "number", epsilon_cutoff = "number", eta_cutoff = "number", repetition_penalty = "number",
  eos_token_id = "integer|table", pad_token_id = "integer", bos_token_id = "integer", stop_strings = "string|table",
  num_return_sequences = "positive", num_beams = "positive", num_beam_groups = "positive", no_repeat_ngram_size = "count",
  length_penalty = "number", early_stopping = "boolean|string", diversity_penalty = "number", penalty_alpha = "number",
  guidance_scale = "number", encoder_no_repeat_ngram_size = "count", encoder_repetition_penalty = "number",
  bad_words_ids = "table", force_words_ids = "table", suppress_tokens = "table", begin_suppress_tokens = "table",
  forced_bos_token_id = "integer", forced_eos_token_id = "integer|table", exponential_decay_length_penalty = "table",
  sequence_bias = "table", renormalize_logits = "boolean", top_h = "number",
  prompt_lookup_num_tokens = "count", max_matching_ngram_size = "positive",
}

--- Options of the published files that are not applied: why, and what does what they are wanted for. A file's is a warning,
--- a caller's an error.
rules.not_applied = {
  max_time = { "an answer that ends by the clock would change with the batch it is in",
    "line:cancel(), engine:step { budget_ms = … } or stop_when = function(state) … end may watch pl.clock()" },
  watermarking_config = { "texts carry no watermark", "a function in processors may favour tokens" },
  dola_layers = { "the scores of early layers are not held against the last", "m:trace reads any layer, a function in processors changes scores" },
  constraints = { "they are objects of a program", "force_words, force_words_ids, regex, json_schema or grammar say what an answer holds" },
  forced_decoder_ids = { "the published implementation has left it out", "give decoder = { ids } or forced_bos_token_id" },
  token_healing = { "a prompt's last token stays as it is", "end the prompt before the word that is to be written on" },
}

-- Options that only callers have.
local own = {
  seed = "integer", stop = "string|table", logprobs = "count|boolean", prompt_logprobs = "boolean|count", n = "positive",
  processors = "table|function", stop_when = "function", on_token = "function", context = { "error", "truncate_left", "slide" },
  priority = "integer", deadline_ms = "number", client = "string", tag = "any", decoder = "table", decoder_start_token_id = "count",
  allow_foreign = "boolean", reuse = "boolean", regex = "string", json_schema = "string|table", grammar = "string|Grammar", choices = "table",
  frequency_penalty = "number", presence_penalty = "number", dry_multiplier = "number", dry_base = "number",
  dry_allowed_length = "positive", dry_penalty_last_n = "integer", dry_sequence_breakers = "string|table",
  top_n_sigma = "number", xtc_probability = "number", xtc_threshold = "number", dynatemp_range = "number", dynatemp_exponent = "number",
  mirostat = { 0, 2 }, mirostat_tau = "number", mirostat_eta = "number", bad_words = "string|table", force_words = "string|table",
  echo = "boolean", adapter = "string|boolean", negative_prompt = "string|table",
  slide_keep = "count", cache = "Cache", use_cache = "boolean", draft = "Model", draft_tokens = "positive",
}

--- What a caller may give for one request.
rules.spec = {}
for _, part in ipairs { rules.published, own } do
  for key, wanted in pairs(part) do rules.spec[key] = wanted end
end
for key in pairs(rules.not_applied) do rules.spec[key] = "any" end

--- Options that matter only where tokens are drawn.
rules.sampling_keys = { "temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_h",
  "top_n_sigma", "xtc_probability", "dynatemp_range", "mirostat" }

--- What belongs to one of them and draws nothing by itself.
rules.sampling_details = { "xtc_threshold", "dynatemp_exponent", "mirostat_tau", "mirostat_eta" }

-- Keys of generation_config.json that change no answer: what a call gives back, how it is computed, who wrote it.
local harmless = {}
for key in ([[transformers_version _from_model_config use_cache cache_implementation cache_config max_cache_len output_attentions
  output_hidden_states output_scores output_logits return_dict_in_generate return_dict is_assistant num_assistant_tokens
  num_assistant_tokens_schedule assistant_confidence_threshold assistant_early_exit
  assistant_lookbehind target_lookbehind assistant_ensemble_weight speculation_type compile_config disable_compile
  continuous_batching_config
  _commit_hash return_legacy_cache generation_kwargs low_memory prefill_chunk_size use_mtp remove_invalid_values decoder_start_token_id]]):gmatch "%S+" do
  harmless[key] = true
end

-- ---------------------------------------------------------------- values

local function is_empty(value) return value == nil or (type(value) == "table" and next(value) == nil) end
rules.is_empty = is_empty

--- A number or a list as a list.
---@param value any
---@return any[]
function rules.list(value)
  if value == nil then return {} end
  return type(value) == "table" and value or { value }
end

local function is_id(v) return type(v) == "number" and v % 1 == 0 and v >= 0 and v < 2 ^ 31 end

-- The first entry that is no id: "ids" and the entry; nil for a list of ids.
local function ids_fault(value)
  if type(value) == "table" and not kind.is_list(value) then return "ids", value end
  for _, id in ipairs(rules.list(value)) do
    if not is_id(id) then return "ids", id end
  end
end

local function sequences_fault(value)
  if not kind.is_list(value) then return "lists of ids", value end
  for _, one in ipairs(value) do
    if type(one) ~= "table" or is_empty(one) then return "lists of ids, none of them empty", one end
    local what, wrong = ids_fault(one)
    if what then return "lists of " .. what, wrong end
  end
end

local function biases_fault(value)
  local what = "{ { ids, bias }, … }"
  if not kind.is_list(value) then return what, value end
  for _, pair in ipairs(value) do
    if type(pair) ~= "table" or type(pair[2]) ~= "number" or pair[2] ~= pair[2]
      or not (type(pair[1]) == "string" and pair[1] ~= "" or type(pair[1]) == "table" and not is_empty(pair[1]) and not ids_fault(pair[1])) then
      return what, pair
    end
  end
end

local function decay_fault(value)
  local start, factor = value[1], value[2]
  if is_empty(value) then return nil end
  if not (kind.is_list(value) and #value >= 2 and is_id(start) and type(factor) == "number"
    and not core.generation_fault("exponential_decay_length_penalty", factor)) then
    return "{ tokens, factor }, the factor above 0", value
  end
end

local function texts_fault(value)
  if type(value) == "table" and not kind.is_list(value) then return "a text or a list of texts", value end
  for _, text in ipairs(rules.list(value)) do
    if type(text) ~= "string" or text == "" then return "texts that are not empty", text end
  end
end

local function early_fault(v)
  if type(v) == "string" and v ~= "never" then return 'true, false or "never"', v end
end

-- Key → function(value) → what was expected, what was found; nothing where the value is right.
local faults = {
  early_stopping = early_fault, eos_token_id = ids_fault, suppress_tokens = ids_fault, begin_suppress_tokens = ids_fault,
  forced_bos_token_id = ids_fault, forced_eos_token_id = ids_fault, bad_words_ids = sequences_fault, sequence_bias = biases_fault,
  exponential_decay_length_penalty = decay_fault, stop = texts_fault, stop_strings = texts_fault,
  force_words_ids = sequences_fault, bad_words = texts_fault, force_words = texts_fault, dry_sequence_breakers = texts_fault,
  mirostat = function() end,   -- its kind says all
  negative_prompt = function(value) if type(value) == "table" then return ids_fault(value) end end,
}

-- What is wrong with a value of the right kind: what was expected, what was found, a hint. Ranges of numbers are the engine's.
local function fault_of(key, value)
  if faults[key] then return faults[key](value) end
  if type(value) ~= "number" then return nil end
  local expected, hint = core.generation_fault(key, value)
  if expected then return expected, value, hint end
end

--- Raises for a caller's value that no rule allows; kinds were checked with the other options.
---@param given table
---@param op string
function rules.check(given, op)
  for key, value in pairs(given) do
    local reason = rules.not_applied[key]
    if reason and value ~= false then
      raise("unsupported", op, ("%s = %s is not applied: %s"):format(key, options.show(value), reason[1]), reason[2])
    end
    local what, wrong, hint = fault_of(key, value)
    if what then raise("option", op, ("option %s: expected %s, got %s"):format(key, what, options.show(wrong)), hint) end
  end
end

-- ---------------------------------------------------------------- files

-- -1 stands for "none" in files of older models.
local function without_none(key, value)
  if not key:find "_token_id$" then return value end
  if type(value) == "number" and value < 0 then return nil end
  if not kind.is_list(value) then return value end
  local ids = {}
  for _, id in ipairs(value) do
    if type(id) ~= "number" or id >= 0 then ids[#ids + 1] = id end
  end
  return ids
end

local published_top_k = 50

--- How many candidates contrastive search has where neither file nor caller says: the published default.
rules.published_top_k = published_top_k

--- What a file says of generation, and what is wrong with it. A wrong value is an error of the call that
--- would use it, so that a caller can give another.
---@param json table generation_config.json, or config.json where that is absent
---@param file string its name
---@return table values the keys that calls read, where they are right
---@return table<string, table> wrong key → { text=, always= } always: not even its kind is right
function rules.read(json, file)
  local values, wrong = {}, {}
  for key, wanted in pairs(rules.published) do
    local value = json[key]
    if value ~= nil then value = without_none(key, value) end
    if value ~= nil then
      local what, found = options.expected(value, wanted), value
      local always = what ~= nil
      if not what then
        local what_else, where = fault_of(key, value)
        if what_else then what, found = what_else, where end
      end
      if not what then
        values[key] = value
      else
        wrong[key] = { always = always, text = ("%s: %s: expected %s, got %s"):format(file, key, what, options.show(found)) }
      end
    end
  end
  -- Files leave out what is the published default: one that says to draw means the 50 best.
  if values.do_sample and json.top_k == nil then values.top_k = published_top_k end
  return values, wrong
end

--- Warnings for a generation_config.json: wrong values, and keys that nothing here reads.
---@param json table
---@param file string
---@param wrong table
---@return string[]
function rules.warnings(json, file, wrong)
  local list = {}
  for _, key in ipairs(names_of(wrong)) do list[#list + 1] = wrong[key].text .. "; calls that would use it raise" end
  if file ~= "generation_config.json" then return list end
  for _, key in ipairs(names_of(json)) do
    local reason = rules.not_applied[key]
    if not rules.published[key] and not harmless[key] and not (reason and json[key] == false) then
      local near = (options.unknown(key, names_of(rules.published), "options", "generate") or ""):match "^did you mean.*"
      list[#list + 1] = ("%s: %s is not applied: %s"):format(file, key, reason and reason[1] or "no option has this name" .. (near and "; " .. near or ""))
    end
  end
  return list
end

return rules
