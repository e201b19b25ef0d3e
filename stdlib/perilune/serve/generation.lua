-- Options of generation: what the model's files say, what the caller says, and what contradicts.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local rules = require "perilune.serve.generation_rules"
local grammar = require "perilune.serve.grammar"
local family = require "perilune.loaded.family"
local decoder_start = require "perilune.loaded.decoder_start"
local drafts = require "perilune.serve.drafts"
local searches = require "perilune.serve.searches"

local generation = {}

-- New tokens when neither the caller nor a file says how many.
generation.default_new_tokens = 128

--- What a caller may give for one request.
generation.spec = rules.spec

local is_empty, sampling_keys = rules.is_empty, rules.sampling_keys

-- What only callers say of repetition.
local repetition_keys = { "frequency_penalty", "presence_penalty", "dry_multiplier", "dry_base", "dry_allowed_length",
  "dry_penalty_last_n", "dry_breakers" }

local contradict = searches.contradict

local function check_contradictions(given, compares, op)
  if given.do_sample == false then
    for _, key in ipairs(sampling_keys) do
      if searches.draws(given, key) and not (compares and key == "top_k") then
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
  if (given.mirostat or 0) ~= 0 then
    for _, key in ipairs { "top_k", "top_p", "min_p", "typical_p", "top_h", "top_n_sigma", "epsilon_cutoff", "eta_cutoff", "xtc_probability" } do
      if searches.draws(given, key) then
        contradict(op, "mirostat", key, "mirostat cuts by itself, nothing else is")
      end
    end
  end
  if given.stop and given.stop_strings then contradict(op, "stop", "stop_strings", "both say where to end") end
end

local drawn = {}
for _, key in ipairs(sampling_keys) do drawn[key] = true end

-- What a file says and no rule allows, where this request would use it.
local function check_file(s, given, do_sample, beams, op)
  for key, fault in pairs(s.generation_wrong or {}) do
    local idle = not fault.always and (drawn[key] and not do_sample or key == "length_penalty" and beams == 1)
    if given[key] == nil and not idle then raise("option", op, fault.text, ("give %s yourself, or mend the file"):format(key)) end
  end
end

-- A bias for each sequence as two lists; of one that is given again the last counts, as published.
local function biases(value)
  if is_empty(value) then return nil, nil end
  local lists, numbers, places = {}, {}, {}
  for _, pair in ipairs(value) do
    local name = table.concat(pair[1], " ")
    local place = places[name] or #lists + 1
    places[name], lists[place], numbers[place] = place, pair[1], pair[2]
  end
  return lists, numbers
end

-- What is forbidden, forced or favoured, as core's engine takes it.
local function constraints(value_of)
  local function ids(key)
    local value = value_of(key)
    return not is_empty(value) and rules.list(value) or nil
  end
  local lists, numbers = biases(value_of "sequence_bias")
  local decay = value_of "exponential_decay_length_penalty"
  return {
    no_repeat_ngram_size = value_of "no_repeat_ngram_size", encoder_no_repeat_ngram_size = value_of "encoder_no_repeat_ngram_size",
    encoder_repetition_penalty = value_of "encoder_repetition_penalty", bias_ids = lists, bias_values = numbers,
    bad_words_ids = ids "bad_words_ids", force_words_ids = ids "force_words_ids", suppress_tokens = ids "suppress_tokens",
    begin_suppress_tokens = ids "begin_suppress_tokens", forced_bos_token_id = ids "forced_bos_token_id",
    forced_eos_token_id = ids "forced_eos_token_id", decay_start = not is_empty(decay) and decay[1] or nil,
    decay_factor = not is_empty(decay) and decay[2] or nil,
  }
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
local function fit_prompt(ids, limit, new_tokens, context, op, first)
  if not limit or #ids <= limit then return ids, 0 end
  if context ~= "truncate_left" and context ~= "slide" then
    raise("length", op, ("the prompt has %d tokens, the model has %d positions"):format(#ids, limit),
      'shorten it, or say context="truncate_left" to drop its beginning')
  end
  local keep = math.max(limit - new_tokens, math.ceil(limit / 2))   -- an answer as long as the model leaves half to the prompt
  local kept = {}
  first = math.min(first or 0, keep - 1)
  for i = 1, first do kept[i] = ids[i] end
  for i = #ids - keep + first + 1, #ids do kept[#kept + 1] = ids[i] end
  return kept, #ids - keep
end

-- How many first ids stay where the context is full; nil: it ends there.
local function slide_keep(given, limit, prompt_tokens, beams, op)
  if given.context ~= "slide" then
    if given.slide_keep then raise("option", op, 'option slide_keep goes with context="slide"') end
    return nil
  end
  if beams > 1 then contradict(op, 'context="slide"', "num_beams=" .. beams, "the beams of a search share one context") end
  if given.cache then contradict(op, 'context="slide"', "cache", "a cache holds the whole text") end
  if not limit then return nil end
  if given.slide_keep and given.slide_keep > limit - 2 then
    raise("option", op, ("option slide_keep: %d of %d positions leave nothing to slide"):format(given.slide_keep, limit))
  end
  return given.slide_keep or math.min(prompt_tokens, math.floor(limit / 4))
end

-- What an encoder-decoder's answer begins with.
local function first_ids(s, given, op)
  local start = decoder_start.ids(s, given, op)
  if start then return start end
  for _, id in ipairs(given.decoder) do
    if type(id) ~= "number" or id % 1 ~= 0 or id < 0 or id >= s.vocab_rows then
      raise("option", op, "option decoder: expected ids the model has, got " .. options.show(id))
    end
  end
  if #given.decoder == 0 then raise("option", op, "option decoder: a row without tokens") end
  return given.decoder
end

-- A caller's options where contrastive search chooses: no file's beams or draws beside it.
local function alone(given)
  local own = {}
  for key, value in pairs(given) do own[key] = value end
  own.do_sample, own.num_beams, own.num_return_sequences, own.top_k = false, 1, given.num_return_sequences or 1, nil
  return own
end

local function draws(given, defaults)
  if given.do_sample ~= nil then return given.do_sample end
  for _, key in ipairs(sampling_keys) do
    if given[key] ~= nil then return true end
  end
  if (given.num_beams or 1) > 1 then return false end   -- the caller's search, not a file's draws
  return defaults.do_sample == true
end

--- One request: ids and what core's engine takes, from the files' defaults and the caller's options.
---@param s table a model's state (generation_defaults, generation_wrong, generation_file, c)
---@param ids integer[] the prompt; an encoder-decoder's source
---@param given table the caller's options, checked by spec
---@param op string
---@return table request fields for submit
function generation.request(s, ids, given, op)
  local source
  if family.two_part(s.family) then
    source, ids = ids, first_ids(s, given, op)
  else
    decoder_start.refuse(given, op)
  end
  local defaults = s.generation_defaults
  local function value_of(key)
    if given[key] ~= nil then return given[key], "" end
    if defaults[key] ~= nil then return defaults[key], " (" .. s.generation_file .. ")" end
    return nil, ""
  end
  rules.check(given, op)
  local compared = searches.contrastive(given, value_of, op)
  check_contradictions(given, compared ~= nil, op)
  if compared then given = alone(given) end
  local do_sample = draws(given, defaults)
  check_file(s, given, do_sample, value_of "num_beams" or 1, op)
  local v = { repetition_penalty = value_of "repetition_penalty" }
  if do_sample then
    for _, key in ipairs(sampling_keys) do v[key] = value_of(key) end
    for _, key in ipairs(rules.sampling_details) do v[key] = given[key] end
  end
  local new_tokens = newest_tokens(given, value_of, #ids)
  local slides = slide_keep(given, s.c.max_tokens, #ids, value_of "num_beams" or 1, op)
  local prompt, lost = fit_prompt(ids, s.c.max_tokens, new_tokens, given.context, op, slides)
  if source then source, lost = fit_prompt(source, s.c.max_source, 0, given.context, op) end
  local least = value_of "min_new_tokens"
  if not least and value_of "min_length" then least = math.max(0, value_of "min_length" - #ids) end
  local logprobs = given.logprobs
  if logprobs == true then logprobs = 0 elseif logprobs == false then logprobs = nil end
  local seed = given.seed
  if seed == nil then seed = do_sample and fresh_seed() or 0 end
  local own = constraints(value_of)
  for _, list in ipairs { sampling_keys, rules.sampling_details } do
    for _, key in ipairs(list) do own[key] = v[key] end
  end
  for _, key in ipairs(repetition_keys) do own[key] = given[key] end
  own.do_sample, own.seed, own.logprobs, own.repetition_penalty = do_sample, seed, logprobs, v.repetition_penalty
  own.max_new_tokens, own.min_new_tokens = new_tokens, math.min(least or 0, new_tokens)
  own.prompt_logprobs, own.n = given.prompt_logprobs and true or nil, given.n or value_of "num_return_sequences"
  searches.add_beams(own, given, value_of, do_sample, op)
  local kept_to = grammar.of(given, op)
  if kept_to then
    if given.forced_eos_token_id then
      contradict(op, "forced_eos_token_id", given.grammar and "grammar" or kept_to.kind, "a grammar says where the end may be")
    end
    own.forced_eos_token_id = nil
  end
  local guesses = drafts.tokens(given, value_of, own.num_beams, op)
  return {
    grammar = kept_to, ids = prompt, source = source, lost = lost, max_tokens = s.c.max_tokens,
    options = own,
    stop_ids = rules.list(value_of "eos_token_id"),
    stop_strings = rules.list(given.stop or value_of "stop_strings"),
    processors = function_list(given.processors, op), stop_when = given.stop_when, on_token = given.on_token,
    priority = given.priority, deadline_ms = given.deadline_ms, client = given.client,
    tag = given.tag, reuse = given.reuse, use_cache = given.use_cache,
    guidance_scale = searches.guidance(given, value_of, op), contrastive = compared,
    slide_keep = slides, draft_tokens = guesses, draft_ngram = guesses and value_of "max_matching_ngram_size" or nil,
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
