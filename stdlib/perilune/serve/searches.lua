-- How an answer is looked for beside drawing: beams, groups of beams, contrastive search, and what of these goes together.
-- What a file says gives way to what the caller says; only what the caller says contradicts itself.
local raise = require "perilune.base.raise"
local rules = require "perilune.serve.generation_rules"

local searches = {}

local off_values = { temperature = 1, top_p = 1, typical_p = 1, top_h = 1 }   -- 0 switches the others off

--- Whether the caller's value of a sampling option does something.
---@param given table
---@param key string
---@return boolean
function searches.draws(given, key) return given[key] ~= nil and given[key] ~= (off_values[key] or 0) end

--- Raises for two options of one caller that cannot both be meant.
---@param op string
---@param first string
---@param second string
---@param why string
function searches.contradict(op, first, second, why)
  raise("option", op, ("options %s and %s contradict each other: %s"):format(first, second, why), "leave one of them out")
end

local contradict = searches.contradict

-- What else of the caller's says how the answer is looked for.
local function other_way(given)
  if given.do_sample then return "do_sample", "contrastive search does not draw" end
  for _, key in ipairs(rules.sampling_keys) do
    if key ~= "top_k" and searches.draws(given, key) then return key, "contrastive search does not draw" end
  end
  if (given.num_beams or 1) > 1 then return "num_beams=" .. given.num_beams, "each is a search of its own" end
  local outputs = given.n or given.num_return_sequences or 1
  if outputs > 1 then return "n=" .. outputs, "contrastive search finds one answer" end
end

--- Contrastive search where a request asks for it; nil: it does not.
---@param given table the caller's options
---@param value_of fun(key: string): any the caller's, or the file's
---@param op string
---@return { alpha: number, top_k: integer }|nil
function searches.contrastive(given, value_of, op)
  local alpha, own = value_of "penalty_alpha", given.penalty_alpha ~= nil
  if not alpha or alpha == 0 then return nil end
  local other, why = other_way(given)
  if other and own then contradict(op, "penalty_alpha", other, why) end
  if not own and (other or given.top_k or value_of "do_sample" or (value_of "num_beams" or 1) > 1) then return nil end
  local top_k = value_of "top_k" or rules.published_top_k
  if top_k == 0 then raise("option", op, "option penalty_alpha: top_k = 0 leaves no candidates to choose from", "4 to 8 are usual") end
  if top_k == 1 then return nil end   -- the likeliest, whatever it looks like
  if given.context == "slide" then contradict(op, 'context="slide"', "penalty_alpha", "tokens that are gone cannot be compared with") end
  return { alpha = alpha, top_k = top_k }
end

local early_names = { [true] = "yes", [false] = "no", never = "never" }

-- num_beam_groups with diversity_penalty.
local function add_groups(out, given, value_of, beams, op)
  local groups, penalty = value_of "num_beam_groups" or 1, value_of "diversity_penalty" or 0
  if beams % groups ~= 0 then
    if given.num_beam_groups == nil then return end   -- the file's groups, the caller's beams: the caller wins
    raise("option", op, ("option num_beam_groups: %d groups do not divide %d beams"):format(groups, beams), "num_beams is a multiple of it")
  end
  if groups == 1 then
    if (given.diversity_penalty or 0) > 0 then
      raise("option", op, "option diversity_penalty goes with num_beam_groups, and there is one group", "give num_beam_groups = 2 or more")
    end
    return
  end
  if penalty == 0 then
    raise("option", op, ("option num_beam_groups: %d groups without diversity_penalty would all find the same"):format(groups),
      "give diversity_penalty = 1.0, say")
  end
  out.num_beam_groups, out.diversity_penalty = groups, penalty
  out.pad_token_id = value_of "pad_token_id" or rules.list(value_of "eos_token_id")[1] or 0
end

--- Adds what a beam search goes by; sampling is refused where a search is asked for.
---@param out table what core's engine takes
---@param given table the caller's options
---@param value_of fun(key: string): any
---@param do_sample boolean
---@param op string
function searches.add_beams(out, given, value_of, do_sample, op)
  local beams = value_of "num_beams" or 1
  if beams == 1 then
    for _, key in ipairs { "num_beam_groups", "diversity_penalty" } do
      if (given[key] or 0) > (key == "num_beam_groups" and 1 or 0) then
        raise("option", op, ("option %s goes with num_beams, and there is one beam"):format(key), "give num_beams, a multiple of num_beam_groups")
      end
    end
    return
  end
  if do_sample and given.num_beams then
    local draws = "do_sample"
    for _, key in ipairs(rules.sampling_keys) do if given[key] ~= nil and not given.do_sample then draws = key end end
    contradict(op, draws, "num_beams=" .. beams, "a beam search looks for the best, it does not draw")
  end
  if do_sample then return end   -- the file's beams, the caller's sampling: the caller wins
  local early = value_of "early_stopping"
  if early == nil then early = false end
  out.num_beams, out.length_penalty, out.early_stopping = beams, value_of "length_penalty", early_names[early]
  out.renormalize_logits = value_of "renormalize_logits"
  add_groups(out, given, value_of, beams, op)
end

--- guidance_scale where it does something; nil: the scores stay as they are.
---@param given table the caller's options
---@param value_of fun(key: string): any
---@param op string
---@return number|nil
function searches.guidance(given, value_of, op)
  local scale = value_of "guidance_scale"
  if not scale or scale == 1 then
    if given.negative_prompt then
      raise("option", op, "option negative_prompt goes with guidance_scale, and there is none", "give guidance_scale = 1.5, say")
    end
    return nil
  end
  if given.context == "slide" then contradict(op, 'context="slide"', "guidance_scale", "the text without the prompt does not slide with it") end
  return scale
end

return searches
