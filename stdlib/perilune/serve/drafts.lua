-- Guesses of the tokens that come next, by a smaller model or from the text so far: answers come sooner
-- and are the same.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local family = require "perilune.loaded.family"

local drafts = {}

-- Of one pass: what proves wrong is cropped, and windows keep no more than this behind.
drafts.most = 15
local default_tokens = 4

--- How many guesses one pass may check; nil where there are none.
---@param given table the caller's options
---@param value_of fun(key: string): any the caller's, or the file's
---@param beams integer|nil where a search was asked for
---@param op string
---@return integer|nil
function drafts.tokens(given, value_of, beams, op)
  local function contradict(first, second, why)
    raise("option", op, ("options %s and %s contradict each other: %s"):format(first, second, why), "leave one of them out")
  end
  local asked = given.prompt_lookup_num_tokens
  if given.draft and asked and asked > 0 then contradict("draft", "prompt_lookup_num_tokens", "both say what guesses") end
  if given.draft_tokens and not given.draft then
    raise("option", op, "option draft_tokens goes with draft, and there is none", "give draft = model, or prompt_lookup_num_tokens")
  end
  for _, key in ipairs { "draft_tokens", "prompt_lookup_num_tokens" } do
    if given[key] and given[key] > drafts.most then
      raise("option", op, ("option %s: expected at most %d, got %d"):format(key, drafts.most, given[key]))
    end
  end
  if beams and (given.draft or asked and asked > 0) then
    contradict(given.draft and "draft" or "prompt_lookup_num_tokens", "num_beams=" .. beams, "the beams of a search are not guessed")
  end
  if beams then return nil end
  if given.draft then return given.draft_tokens or default_tokens end
  local from_text = value_of "prompt_lookup_num_tokens"
  if not from_text or from_text == 0 then return nil end
  return math.min(from_text, drafts.most)
end

-- Ids of both models mean the same, as far as their tokenizers tell.
local function check_tokenizers(m, draft, op)
  local own, other = m.tokenizer, draft.tokenizer
  local function refuse(what)
    raise("option", op, "option draft: its tokens are not those of the model: " .. what, "a draft model has the model's own tokenizer")
  end
  if not own or not other then
    if m.vocab_size ~= draft.vocab_size then refuse(("%d embedding rows, the model has %d"):format(draft.vocab_size, m.vocab_size)) end
    return
  end
  if own.max_id ~= other.max_id then refuse(("its highest id is %d, the model's %d"):format(other.max_id, own.max_id)) end
  for id = 0, own.max_id do
    local a, b = own:piece(id), other:piece(id)
    if a ~= b then refuse(("id %d is %s, the model's is %s"):format(id, options.show(b), options.show(a))) end
  end
end

local checked = setmetatable({}, { __mode = "k" })   -- a model's state → the states of drafts that fit it
local own_pools = setmetatable({}, { __mode = "k" })  -- an engine that steps by itself → its pools of drafts

--- Adds the model that guesses to a request.
---@param request table of core's engine
---@param m Model
---@param draft Model
---@param engine userdata|nil one whose keys and values are its own
---@param op string
function drafts.add_model(request, m, draft, engine, op)
  local s, ds = rawget(m, "state_"), pass_runner.open(draft, op)
  if s == ds then raise("option", op, "option draft: it is the model itself", "a draft is a smaller model") end
  if family.two_part(s.family) or family.two_part(ds.family) then
    raise("unsupported", op, "option draft: an encoder-decoder's answer is not guessed by a model", "prompt_lookup_num_tokens guesses from its own text")
  end
  if not family.predicts_next[draft.head] then
    raise("option", op, ("option draft: head %s does not predict a next token"):format(draft.head), 'load it with head="causal"')
  end
  checked[s] = checked[s] or setmetatable({}, { __mode = "k" })
  if not checked[s][ds] then
    check_tokenizers(m, draft, op)
    checked[s][ds] = true
  end
  local pool
  if engine then
    own_pools[engine] = own_pools[engine] or setmetatable({}, { __mode = "k" })
    pool = own_pools[engine][ds] or pass_runner.pool(ds, nil, true)
    own_pools[engine][ds] = pool
  end
  request.draft_plan, request.draft_cache = pass_runner.plan(ds, "decode"), pool or pass_runner.pool(ds)
  request.draft_max_tokens = ds.c.max_tokens
  request.draft_reachable = math.min(s.reachable or m.vocab_size, ds.reachable or draft.vocab_size, m.vocab_size, draft.vocab_size)
end

return drafts
