-- The engine that serves many, and what generate and stream share with it: prompts read, requests
-- submitted.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local caches = require "perilune.loaded.cache"
local adapters = require "perilune.loaded.adapters"
local decoder_start = require "perilune.loaded.decoder_start"
local family = require "perilune.loaded.family"
local pass_runner = require "perilune.loaded.pass_runner"
local inputs = require "perilune.run.inputs"
local layout = require "perilune.run.layout"
local origin = require "perilune.loaded.origin"
local generation = require "perilune.serve.generation"
local grammar = require "perilune.serve.grammar"
local words = require "perilune.serve.words"
local drafts = require "perilune.serve.drafts"
local companions = require "perilune.serve.companions"
local turn_end = require "perilune.chat.turn_end"
local policies = require "perilune.policy"
local forward = require "perilune.run.forward"

local submit = {}

--- The ids of one prompt: a text, ids, or what { prompt=|messages=|ids= } holds.
---@param m table
---@param value any
---@param op string
---@return integer[]
function submit.prompt_ids(m, value, op)
  if type(value) == "string" then value = inputs.tokenizer(m, op):ids(value) end
  if kind.of(value) == "Tensor" then value = value:tolist() end
  if kind.is_list(value) and (value[1] == nil or type(value[1]) == "number") then
    if #value == 0 then raise("argument", op, "a prompt without tokens", "give at least one id") end
    inputs.check_ids(m, { value }, op)
    return value
  end
  local key = type(value) == "table" and not kind.of(value) and next(value)
  if type(key) == "string" then
    raise("argument", op, "a prompt's table has no " .. options.show(key), options.unknown(key, { "prompt", "messages", "ids" }, "keys", op))
  end
  return raise("argument", op, "expected a text or a row of ids, got " .. options.show(value))
end

-- One prompt's own table: its ids and its options over the common ones.
local function own_prompt(m, item, common, op)
  local own, held = {}, 0
  for key, value in pairs(common) do own[key] = value end
  local mine, chat = {}, {}
  for key, value in pairs(item) do
    if generation.prompt_keys[key] then
      held = held + 1
    elseif item.messages ~= nil and generation.chat_keys[key] then
      chat[key] = value
    else
      mine[key] = value
    end
  end
  if held ~= 1 then raise("argument", op, "a prompt table holds one of prompt, messages and ids") end
  options.check(mine, generation.spec, op)
  for key, value in pairs(mine) do own[key] = value end
  if item.messages ~= nil then
    local tokenizer = inputs.tokenizer(m, op)
    turn_end.add(own, m, chat)
    local ids = tokenizer:ids(tokenizer:chat(item.messages, chat), { special = false })   -- the template wrote them
    return { ids = submit.prompt_ids(m, ids, op), options = own, whole = true }
  end
  local source = item.ids
  if source == nil then source = item.prompt end
  return { ids = submit.prompt_ids(m, source, op), options = own }
end

local function read_one(m, item, common, op)
  if generation.is_prompt_table(item) then return own_prompt(m, item, common, op) end
  return { ids = submit.prompt_ids(m, item, op), options = common }
end

-- What is no prompt's own fault.
local of_the_call = { cancelled = true, state = true, internal = true }

--- Calls f for one prompt of a list; where that fails by the prompt's own fault, gives { error= }. Options
--- are its own where it was read with some: a key that does not exist is the call's mistake.
---@param prompt table|nil as it was read
---@param common table the call's own options
---@param f function
---@return table|userdata
---@return any
function submit.attempt(prompt, common, f, ...)
  local fine, result, more = pcall(f, ...)
  if fine then return result, more end
  local code = type(result) == "table" and result.code
  local options_of_call = (not prompt or prompt.options == common) and (code == "option" or code == "unsupported")
  if not code or of_the_call[code] or options_of_call then error(result, 0) end
  return { error = result }
end

local function batch_prompts(batch, common)
  local list, flat, at = {}, batch.ids:tolist(), 0
  for i, length in ipairs(batch.lengths) do
    local ids = {}
    for j = 1, length do ids[j] = flat[at + j] end
    list[i], at = { ids = ids, options = common }, at + length
  end
  return list
end

--- Reads what generate takes: prompts with their options, and whether it was a single one.
---@param m table
---@param input any
---@param common table the call's own options
---@param op string
---@param keep boolean|nil one of a list that cannot be read is { error= } instead of raising
---@return table[] prompts { ids=, options=, whole= } (whole: messages, which are all of the text)
---@return boolean single
function submit.read(m, input, common, op, keep)
  local function read(f, ...)
    if keep then return (submit.attempt(nil, common, f, ...)) end
    return f(...)
  end
  local function checked(prompt)
    inputs.check_ids(m, { prompt.ids }, op)
    return prompt
  end
  origin.check(m, input, op, common.allow_foreign)
  if type(input) == "table" and not kind.of(input) and input.ids ~= nil and input.mask ~= nil then input = layout.pack(input, op) end
  if kind.of(input) == "Batch" then
    local list = batch_prompts(input, common)
    for i, prompt in ipairs(list) do list[i] = read(checked, prompt) end
    return list, false
  end
  local list_of_prompts = kind.is_list(input) and not generation.is_prompt_table(input) and type(input[1]) ~= "number"
  if not list_of_prompts then return { read_one(m, input, common, op) }, true end
  local list = {}
  for i, item in ipairs(kind.whole(input, op, "the input")) do list[i] = read(read_one, m, item, common, op) end
  return list, false
end

--- Raises unless a model can continue text.
---@param m table
---@param op string
function submit.check_causal(m, op)
  local s = pass_runner.open(m, op)
  if not family.predicts_next[m.head] then
    raise("argument", op, ("head %s of this model does not predict a next token"):format(m.head),
      s.family.heads.causal and 'load it with head="causal"' or nil)
  end
  return s
end

-- A stop text that is one special token never comes out as text: its id ends the answer.
local function stop_at_tokens(m, request)
  local ids = {}
  for _, text in ipairs(m.tokenizer and request.stop_strings or {}) do
    local id = m.tokenizer:id(text)
    if id and m.tokenizer:is_special(id) then ids[#ids + 1] = id end
  end
  if #ids == 0 then return end
  for _, id in ipairs(request.stop_ids) do ids[#ids + 1] = id end
  request.stop_ids = ids
end

--- Hands one prompt to core's engine.
---@param m table
---@param engine userdata
---@param prompt table { ids=, options= }
---@param op string
---@param pool userdata|nil
---@return userdata request
---@return integer lost tokens dropped from the prompt
function submit.submit(m, engine, prompt, op, pool)
  local s = rawget(m, "state_")
  local ids, cache, adapter = prompt.ids, prompt.options.cache, adapters.number(s, prompt.options.adapter, op)
  if cache then
    if pool then
      raise("option", op, "option cache: this engine has keys and values of its own (memory=, worker=)", "use an engine without these")
    end
    ids = caches.prompt(cache, s, ids, prompt.whole, adapter, op)
  end
  local given, without = words.as_ids(m, s, prompt.options, op)
  local request = generation.request(s, ids, given, op)
  if request.options.force_words_ids then words.check_room(request, op) end
  if cache then
    local o = request.options
    if (o.n or 1) > 1 or (o.num_beams or 1) > 1 or request.lost > 0 then
      raise("option", op, "option cache: it goes on with one answer, after all that it holds", "leave out n, num_beams and truncate_left")
    end
    request.continued = caches.lend(cache)
  end
  local lost = request.lost
  request.lost, request.adapter = nil, adapter
  companions.add(m, request, given, op)
  stop_at_tokens(m, request)
  request.without = without
  if given.echo then
    if request.source or not m.tokenizer then
      raise("option", op, "option echo: " .. (request.source and "an encoder-decoder's answer is a text of its own" or "this model has no tokenizer"))
    end
    request.echo = m.tokenizer:decode(request.ids)
  end
  if request.grammar or without then
    local continues = not request.source or m.tokenizer ~= nil and m.tokenizer:decode(request.ids) ~= ""
    request.token_bytes = grammar.token_bytes(s, m.tokenizer, continues, op)
  end
  request.plan = pass_runner.plan(s, "decode")
  if request.source then
    request.source = core.batch { request.source }
    request.encode_plan, request.cross_plan = pass_runner.plan(s, "encode"), pass_runner.plan(s, "cross")
  end
  request.cache = pool or pass_runner.pool(s)
  request.tokenizer = m.tokenizer
  request.reachable = s.reachable
  if pass_runner.written(m) then request.write_pass = pass_runner.writer(m) end
  if prompt.options.draft then drafts.add_model(request, m, prompt.options.draft, pool and engine, op) end
  local line = engine:submit(request)
  if cache then caches.lend(cache, line) end
  return line, lost
end

-- One row, or an error that says how to send several.
local function one_row(batch)
  if batch.size ~= 1 then
    raise("argument", "submit", ("one row a request, got %d"):format(batch.size), "submit each row by itself: the engine batches them")
  end
  return batch
end

--- Hands one input to core's engine, to go through the model's own head once. An encoder-decoder's is
--- its source; the decoder gets the option decoder, or what the family gives it by default.
---@param m table
---@param engine userdata
---@param input any as m:forward takes it; one row
---@param o table { decoder=, decoder_start_token_id=, priority=, deadline_ms=, client=, tag=, allow_foreign= }
---@param pool userdata|nil
---@return userdata request
function submit.submit_forward(m, engine, input, o, pool)
  local s = pass_runner.open(m, "submit")
  local request = { kind = "forward", cache = pool or pass_runner.pool(s), priority = o.priority, deadline_ms = o.deadline_ms,
    client = o.client, tag = o.tag, adapter = adapters.number(s, o.adapter, "submit") }
  local two = family.two_part(s.family)
  local batch = one_row(inputs.read(m, input, "submit", two and s.c.max_source or not two and s.c.max_tokens or nil, o.allow_foreign))
  if two then
    request.source, request.batch = batch, one_row((forward.decoder_batch(m, o, batch, "submit")))
    request.encode_plan, request.cross_plan = pass_runner.plan(s, "encode"), pass_runner.plan(s, "cross")
  else
    decoder_start.refuse(o, "submit")
    request.batch = batch
  end
  request.plan = pass_runner.plan(s, pass_runner.entry_for(s, request.batch))
  return engine:submit(request)
end

--- Steps until nothing is left; tick, where there is one, is told the engine's counts after every step.
---@param engine userdata
---@param tick fun(stats: table)|nil
function submit.drain(engine, tick)
  if not tick then
    engine:drain()
    return
  end
  engine:set_more(false)
  while not engine:idle() do
    engine:advance()
    if core.interrupted() then core.error { code = "cancelled", op = "drain", message = "interrupted", level = 1 } end
    tick(engine:stats())
  end
end

--- Ends what is left of an engine: requests are told, keys and values given back.
---@param engine userdata
function submit.abandon(engine)
  engine:cancel_all()
  engine:drain()
  engine:close()
end

--- Abandons an engine when nothing refers to the guard any more. Userdata, because only userdata have
--- finalizers here: a loop that is left ends its work at once, even while code compiled for the loop
--- still refers to its requests.
---@param engine userdata
---@return userdata
function submit.guard(engine)
  local proxy = newproxy(true)
  getmetatable(proxy).__gc = function() pcall(submit.abandon, engine) end
  return proxy
end

--- Ends a guard's work: its engine is another's now.
---@param guard userdata
function submit.unguard(guard) getmetatable(guard).__gc = nil end

--- Core's engine with a policy, fifo without one.
---@param policy table|function|nil
---@param settings table|nil
---@return userdata
function submit.engine(policy, settings)
  for name, make in pairs(policies) do
    if type(policy) == "function" and policy == make then
      raise("option", "engine", ("option policy: pl.policy.%s makes a policy and is none itself"):format(name),
        ("pl.policy.%s(), with its parentheses"):format(name))
    end
  end
  return core.engine(policy or policies.fifo(), settings or {})
end

return submit
