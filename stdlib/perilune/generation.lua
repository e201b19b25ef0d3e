-- Options of generation: what the model's files say, what the caller says, and what contradicts.
local raise = require "perilune.raise"
local options = require "perilune.options"
local core = require "perilune.core"
local kind = require "perilune.kind"

local generation = {}

-- New tokens when neither the caller nor a file says how many.
generation.default_new_tokens = 128

-- What a caller may give for one request.
generation.spec = {
  max_new_tokens = "count", min_new_tokens = "count", max_length = "positive", min_length = "count",
  do_sample = "boolean", temperature = "number", top_k = "count", top_p = "number", min_p = "number",
  repetition_penalty = "number", seed = "integer", stop = "string|table", eos_token_id = "count|table",
  pad_token_id = "integer", bos_token_id = "integer", logprobs = "count|boolean", prompt_logprobs = "boolean|count",
  n = "positive", num_return_sequences = "positive", processors = "table|function", stop_when = "function",
  on_token = "function", context = { "error", "truncate_left", "slide" }, priority = "integer", deadline_ms = "number",
  client = "string", tag = "any",
  num_beams = "positive", num_beam_groups = "positive", no_repeat_ngram_size = "count", length_penalty = "number",
  early_stopping = "any", diversity_penalty = "number", typical_p = "number", epsilon_cutoff = "number",
  eta_cutoff = "number", penalty_alpha = "number", guidance_scale = "number", encoder_no_repeat_ngram_size = "count",
  encoder_repetition_penalty = "number", bad_words_ids = "table", force_words_ids = "table", suppress_tokens = "table",
  begin_suppress_tokens = "table", forced_bos_token_id = "integer", forced_eos_token_id = "integer|table",
  exponential_decay_length_penalty = "table", sequence_bias = "table",
}

-- Options of the published files that are understood and not run yet, with the values that change
-- nothing. length_penalty and early_stopping matter to beams alone.
local neutral = {
  num_beams = 1, num_beam_groups = 1, no_repeat_ngram_size = 0, diversity_penalty = 0, typical_p = 1, epsilon_cutoff = 0,
  eta_cutoff = 0, penalty_alpha = 0, guidance_scale = 1, encoder_no_repeat_ngram_size = 0, encoder_repetition_penalty = 1,
}
local absent = { "bad_words_ids", "force_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id",
  "forced_eos_token_id", "exponential_decay_length_penalty", "sequence_bias" }

local sampling_keys = { "temperature", "top_k", "top_p", "min_p" }

local function is_empty(value) return value == nil or (type(value) == "table" and next(value) == nil) end

local function check_supported(value_of, op)
  local function refuse(key, value, from)
    raise("unsupported", op, ("%s = %s%s is not supported yet"):format(key, options.show(value), from),
      from ~= "" and ("give %s yourself to generate without it"):format(key) or nil)
  end
  for key, nothing in pairs(neutral) do
    local value, from = value_of(key)
    if value ~= nil and value ~= nothing then refuse(key, value, from) end
  end
  for _, key in ipairs(absent) do
    local value, from = value_of(key)
    if not is_empty(value) then refuse(key, value, from) end
  end
end

local function contradict(op, first, second, why)
  raise("option", op, ("options %s and %s contradict each other: %s"):format(first, second, why), "leave one of them out")
end

local function check_contradictions(given, op)
  if given.do_sample == false then
    for _, key in ipairs(sampling_keys) do
      local off = key == "min_p" and given[key] == 0 or key ~= "top_k" and key ~= "min_p" and given[key] == 1 or key == "top_k" and given[key] == 0
      if given[key] ~= nil and not off then
        contradict(op, "do_sample=false", ("%s=%g"):format(key, given[key]), "a greedy choice does not sample")
      end
    end
  end
  if given.max_new_tokens and given.max_length then
    contradict(op, "max_new_tokens", "max_length", "both say where to end")
  end
  if given.min_new_tokens and given.max_new_tokens and given.min_new_tokens > given.max_new_tokens then
    contradict(op, "min_new_tokens=" .. given.min_new_tokens, "max_new_tokens=" .. given.max_new_tokens, "the least is above the most")
  end
  if given.n and given.num_return_sequences and given.n ~= given.num_return_sequences then
    contradict(op, "n", "num_return_sequences", "both say how many answers")
  end
end

local function range(op, key, value, fits, what, hint)
  if value ~= nil and not fits then
    raise("option", op, ("option %s: expected %s, got %s"):format(key, what, options.show(value)), hint)
  end
end

local function check_ranges(v, op)
  range(op, "temperature", v.temperature, v.temperature and v.temperature > 0 and v.temperature < math.huge, "a number above 0",
    v.temperature == 0 and "for the most likely token every time, use do_sample = false" or nil)
  range(op, "top_p", v.top_p, v.top_p and v.top_p > 0 and v.top_p <= 1, "a number above 0, at most 1")
  range(op, "min_p", v.min_p, v.min_p and v.min_p >= 0 and v.min_p <= 1, "a number from 0 to 1")
  range(op, "repetition_penalty", v.repetition_penalty, v.repetition_penalty and v.repetition_penalty > 0 and v.repetition_penalty < math.huge,
    "a number above 0")
end

local function id_list(value, op, key)
  if value == nil then return {} end
  if type(value) == "number" then value = { value } end
  local list = {}
  for i, id in ipairs(value) do
    if type(id) ~= "number" or id % 1 ~= 0 or id < 0 then
      raise("option", op, ("option %s: expected ids, got %s"):format(key, options.show(id)))
    end
    list[i] = id
  end
  return list
end

local function text_list(value, op)
  if value == nil then return {} end
  if type(value) == "string" then value = { value } end
  if not kind.is_list(value) then raise("option", op, "option stop: expected a text or a list of texts, got " .. options.show(value)) end
  for _, text in ipairs(value) do
    if type(text) ~= "string" or text == "" then
      raise("option", op, "option stop: expected texts that are not empty, got " .. options.show(text))
    end
  end
  return value
end

local function function_list(value, op)
  if value == nil then return nil end
  if type(value) == "function" then return { value } end
  for _, f in ipairs(value) do
    if type(f) ~= "function" then raise("option", op, "option processors: expected functions, got " .. options.show(f)) end
  end
  return value
end

local fresh = 0
local function fresh_seed()
  fresh = fresh + 1
  return math.floor(core.clock() * 1e6 + os.time() * 7919 + fresh * 104729) % 2147483647
end

local function newest_tokens(given, value_of, prompt_tokens)
  if given.max_new_tokens then return given.max_new_tokens end
  if given.max_length then return math.max(0, given.max_length - prompt_tokens) end
  local from_file = value_of "max_new_tokens"
  if from_file then return from_file end
  local whole = value_of "max_length"
  if whole then return math.max(1, whole - prompt_tokens) end
  return generation.default_new_tokens
end

-- Drops ids from the left where the caller allows it; raises for a prompt beyond the context.
local function fit_prompt(ids, limit, new_tokens, context, op)
  if context == "slide" then raise("unsupported", op, 'context="slide" is not supported yet', 'use context="truncate_left"') end
  if not limit or #ids <= limit then return ids, 0 end
  if context ~= "truncate_left" then
    raise("length", op, ("the prompt has %d tokens, the model has %d positions"):format(#ids, limit),
      'shorten it, or say context="truncate_left" to drop its beginning')
  end
  local keep = math.max(1, limit - new_tokens)
  local kept = {}
  for i = #ids - keep + 1, #ids do kept[#kept + 1] = ids[i] end
  return kept, #ids - keep
end

--- One request: ids and what core's engine takes, from the files' defaults and the caller's options.
---@param s table a model's state (generation, generation_file, c)
---@param ids integer[]
---@param given table the caller's options, checked by spec
---@param op string
---@return table request fields for submit
function generation.request(s, ids, given, op)
  local defaults = s.generation
  local function value_of(key)
    if given[key] ~= nil then return given[key], "" end
    if defaults[key] ~= nil then return defaults[key], " (" .. s.generation_file .. ")" end
    return nil, ""
  end
  check_contradictions(given, op)
  check_supported(value_of, op)
  local asks_sampling = false
  for _, key in ipairs(sampling_keys) do asks_sampling = asks_sampling or given[key] ~= nil end
  local do_sample = given.do_sample
  if do_sample == nil then do_sample = asks_sampling or defaults.do_sample == true end
  local v = { repetition_penalty = value_of "repetition_penalty" }
  if do_sample then
    for _, key in ipairs(sampling_keys) do v[key] = value_of(key) end
  end
  check_ranges(v, op)
  local new_tokens = newest_tokens(given, value_of, #ids)
  local prompt, lost = fit_prompt(ids, s.c.max_tokens, new_tokens, given.context, op)
  local least = value_of "min_new_tokens"
  if not least and value_of "min_length" then least = math.max(0, value_of "min_length" - #ids) end
  local logprobs = given.logprobs
  if logprobs == true then logprobs = 0 elseif logprobs == false then logprobs = nil end
  local seed = given.seed
  if seed == nil then seed = do_sample and fresh_seed() or 0 end
  return {
    ids = prompt, lost = lost, max_tokens = s.c.max_tokens,
    options = {
      do_sample = do_sample, temperature = v.temperature, top_k = v.top_k, top_p = v.top_p, min_p = v.min_p,
      repetition_penalty = v.repetition_penalty, seed = seed, max_new_tokens = new_tokens,
      min_new_tokens = math.min(least or 0, new_tokens), logprobs = logprobs,
      prompt_logprobs = given.prompt_logprobs and true or nil, n = given.n or given.num_return_sequences,
    },
    stop_ids = id_list(value_of "eos_token_id", op, "eos_token_id"),
    stop_strings = text_list(given.stop, op),
    processors = function_list(given.processors, op), stop_when = given.stop_when, on_token = given.on_token,
    priority = given.priority, deadline_ms = given.deadline_ms, client = given.client,
    tag = given.tag,
  }
end

--- Keys of one prompt's own table beside its options.
generation.prompt_keys = { prompt = true, messages = true, ids = true }

--- Whether a value is one prompt with options of its own.
---@param value any
---@return boolean
function generation.is_prompt_table(value)
  return type(value) == "table" and kind.of(value) == nil and (value.prompt ~= nil or value.messages ~= nil or value.ids ~= nil)
end

return generation
