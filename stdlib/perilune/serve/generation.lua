-- Options of generation: what the model's files say, what the caller says, and what contradicts.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local family = require "perilune.loaded.family"

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
  client = "string", tag = "any", decoder = "table",
  num_beams = "positive", num_beam_groups = "positive", no_repeat_ngram_size = "count", length_penalty = "number",
  early_stopping = "any", diversity_penalty = "number", typical_p = "number", epsilon_cutoff = "number",
  eta_cutoff = "number", penalty_alpha = "number", guidance_scale = "number", encoder_no_repeat_ngram_size = "count",
  encoder_repetition_penalty = "number", bad_words_ids = "table", force_words_ids = "table", suppress_tokens = "table",
  begin_suppress_tokens = "table", forced_bos_token_id = "integer", forced_eos_token_id = "integer|table",
  exponential_decay_length_penalty = "table", sequence_bias = "table",
}

-- Options of the published files that are understood and not run yet, with the values that change
-- nothing. length_penalty and early_stopping matter to beams alone.
local neutral = { num_beam_groups = 1, diversity_penalty = 0, penalty_alpha = 0, guidance_scale = 1 }
local absent = { "force_words_ids" }

local sampling_keys = { "temperature", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff" }
local off_values = { temperature = 1, top_p = 1, typical_p = 1 }   -- 0 switches the others off

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
      if given[key] ~= nil and given[key] ~= (off_values[key] or 0) then
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

-- Lists of ids, none empty.
local function sequences(value, op, key)
  if is_empty(value) then return nil end
  if not kind.is_list(value) then raise("option", op, ("option %s: expected lists of ids, got %s"):format(key, options.show(value))) end
  local list = {}
  for i, one in ipairs(value) do
    list[i] = id_list(one, op, key)
    if #list[i] == 0 then raise("option", op, ("option %s: entry %d has no ids"):format(key, i)) end
  end
  return list
end

-- A bias for each sequence: { { ids, bias }, … }, as the published files write it.
local function biases(value, op)
  if is_empty(value) then return nil, nil end
  local lists, numbers = {}, {}
  for i, pair in ipairs(value) do
    if type(pair) ~= "table" or type(pair[2]) ~= "number" then
      raise("option", op, "option sequence_bias: expected { { ids, bias }, … }, got " .. options.show(pair))
    end
    lists[i], numbers[i] = pair[1], pair[2]
  end
  return sequences(lists, op, "sequence_bias"), numbers
end

-- What is forbidden, forced or favoured, as core's engine takes it.
local function rules(value_of, op)
  local function ids(key)
    local value = value_of(key)
    if is_empty(value) then return nil end
    return id_list(value, op, key)
  end
  local lists, numbers = biases(value_of "sequence_bias", op)
  local decay = value_of "exponential_decay_length_penalty"
  if not is_empty(decay) and not (type(decay[1]) == "number" and decay[1] % 1 == 0 and decay[1] >= 0 and type(decay[2]) == "number" and decay[2] > 0) then
    raise("option", op, "option exponential_decay_length_penalty: expected { tokens, factor }, got " .. options.show(decay))
  end
  return {
    no_repeat_ngram_size = value_of "no_repeat_ngram_size", encoder_no_repeat_ngram_size = value_of "encoder_no_repeat_ngram_size",
    encoder_repetition_penalty = value_of "encoder_repetition_penalty", bias_ids = lists, bias_values = numbers,
    bad_words_ids = sequences(value_of "bad_words_ids", op, "bad_words_ids"), suppress_tokens = ids "suppress_tokens",
    begin_suppress_tokens = ids "begin_suppress_tokens", forced_bos_token_id = ids "forced_bos_token_id",
    forced_eos_token_id = ids "forced_eos_token_id", decay_start = not is_empty(decay) and decay[1] or nil,
    decay_factor = not is_empty(decay) and decay[2] or nil,
  }
end

local early_names = { [true] = "yes", [false] = "no", never = "never" }

-- Adds what a beam search goes by; sampling and log-probabilities are refused where a search is asked for.
local function add_beams(out, given, value_of, do_sample, op)
  local beams = value_of "num_beams" or 1
  if beams == 1 then return end
  if do_sample and given.num_beams then
    contradict(op, "do_sample", "num_beams=" .. beams, "a beam search looks for the best, it does not draw")
  end
  if do_sample then return end   -- the file's beams, the caller's sampling: the caller wins
  local early = value_of "early_stopping"
  if early == nil then early = false end
  if early_names[early] == nil then
    raise("option", op, 'option early_stopping: expected true, false or "never", got ' .. options.show(early))
  end
  out.num_beams, out.length_penalty, out.early_stopping = beams, value_of "length_penalty", early_names[early]
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

-- What an encoder-decoder's answer begins with.
local function decoder_start(s, given, op)
  if given.decoder == nil then return { s.c.decoder_start or 0 } end
  for _, id in ipairs(given.decoder) do
    if type(id) ~= "number" or id % 1 ~= 0 or id < 0 or id >= s.vocab_rows then
      raise("option", op, "option decoder: expected ids the model has, got " .. options.show(id))
    end
  end
  if #given.decoder == 0 then raise("option", op, "option decoder: a row without tokens") end
  return given.decoder
end

--- One request: ids and what core's engine takes, from the files' defaults and the caller's options.
---@param s table a model's state (generation, generation_file, c)
---@param ids integer[] the prompt; an encoder-decoder's source
---@param given table the caller's options, checked by spec
---@param op string
---@return table request fields for submit
function generation.request(s, ids, given, op)
  local source
  if family.two_part(s.family) then
    source, ids = ids, decoder_start(s, given, op)
  elseif given.decoder ~= nil then
    raise("option", op, "option decoder: this model has no encoder")
  end
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
  if source then source, lost = fit_prompt(source, s.c.max_source, 0, given.context, op) end
  local least = value_of "min_new_tokens"
  if not least and value_of "min_length" then least = math.max(0, value_of "min_length" - #ids) end
  local logprobs = given.logprobs
  if logprobs == true then logprobs = 0 elseif logprobs == false then logprobs = nil end
  local seed = given.seed
  if seed == nil then seed = do_sample and fresh_seed() or 0 end
  local own = rules(value_of, op)
  for _, key in ipairs(sampling_keys) do own[key] = v[key] end
  own.do_sample, own.seed, own.logprobs, own.repetition_penalty = do_sample, seed, logprobs, v.repetition_penalty
  own.max_new_tokens, own.min_new_tokens = new_tokens, math.min(least or 0, new_tokens)
  own.prompt_logprobs, own.n = given.prompt_logprobs and true or nil, given.n or value_of "num_return_sequences"
  add_beams(own, given, value_of, do_sample, op)
  return {
    ids = prompt, source = source, lost = lost, max_tokens = s.c.max_tokens,
    options = own,
    stop_ids = id_list(value_of "eos_token_id", op, "eos_token_id"),
    stop_strings = text_list(given.stop, op),
    processors = function_list(given.processors, op), stop_when = given.stop_when, on_token = given.on_token,
    priority = given.priority, deadline_ms = given.deadline_ms, client = given.client,
    tag = given.tag,
  }
end

--- Keys of one prompt's own table beside its options.
generation.prompt_keys = { prompt = true, messages = true, ids = true }

--- Keys that go with messages: tok:chat's options.
generation.chat_keys = require("perilune.chat.template").option_names

--- Whether a value is one prompt with options of its own.
---@param value any
---@return boolean
function generation.is_prompt_table(value)
  return type(value) == "table" and kind.of(value) == nil and (value.prompt ~= nil or value.messages ~= nil or value.ids ~= nil)
end

return generation
