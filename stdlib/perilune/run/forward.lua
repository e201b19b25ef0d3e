-- One pass over an input: m:forward and what m:trace shares with it.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local inputs = require "perilune.run.inputs"
local pictures = require "perilune.run.pictures"
local pair = require "perilune.run.pair"
local decoder_start = require "perilune.loaded.decoder_start"
local family = require "perilune.loaded.family"
local kind = require "perilune.base.kind"
local caches = require "perilune.loaded.cache"
local adapters = require "perilune.loaded.adapters"

local forward = {}

local forwards = 0   -- so far, of all models

-- The published hidden states by path: embeddings, every layer, the last replaced by the norm. Without a prefix: of the
-- one that the pass marks its embeddings with ("image.").
local function hidden_paths(program, prefix)
  local present, list = {}, {}
  for _, path in ipairs(program:marks()) do
    present[path] = true
    prefix = prefix or path:match "^(.*)embeddings$"
  end
  prefix = prefix or ""
  if present[prefix .. "embeddings"] then list[1] = prefix .. "embeddings" end
  local layer = 0
  while present[prefix .. "layers." .. layer] do
    list[#list + 1] = prefix .. "layers." .. layer
    layer = layer + 1
  end
  if present[prefix .. "norm"] and #list > 0 then list[#list] = prefix .. "norm" end
  return list
end

--- Where the published last hidden state of a decoder-only model is: what its head reads.
---@param m Model
---@return string path
function forward.last_hidden_path(m)
  local s = rawget(m, "state_")
  local paths = hidden_paths(pass_runner.program(s, family.main_entry(s.family)))
  return paths[#paths]
end

-- The option rows, for heads that give a value per token; others have one answer.
local function read_rows(s, rows, op)
  if rows == nil or rows == "last" or rows == "all" then return rows end
  if type(rows) == "string" then
    raise("option", op, ('option rows: "%s" is not "last" or "all"'):format(rows), "or give a list of positions for every row")
  end
  if not family.per_token[s.head] then
    raise("option", op, ("option rows: head %s gives one answer a row"):format(s.head))
  end
  return rows
end

-- What the decoder gets of a source when nobody says: the family's word for this head, or the start.
local function default_rows(s, source, start, op)
  local rows = {}
  if not s.family.decoder_ids or not source.has_ids then
    for i = 1, source.size do rows[i] = start end
    return rows
  end
  for i, row in source:rows() do
    local ids, reason = s.family.decoder_ids(s.c, row.ids, s.head)
    if reason then raise("argument", op, ("row %d %s"):format(i, reason)) end
    rows[i] = ids or start
  end
  return rows
end

--- The decoder's rows: one a source, a single row for all, or what the family gives it by default.
---@param m table
---@param o table the options decoder, decoder_start_token_id, allow_foreign
---@param source Batch
---@param op string
---@return Batch
---@return table|nil layout the caller's, when they were padded
function forward.decoder_batch(m, o, source, op)
  local s, count = rawget(m, "state_"), source.size
  local start, given = decoder_start.ids(rawget(m, "state_"), o, op), o.decoder
  if o.decoder_start_token_id ~= nil then given = start elseif given == nil then given = default_rows(s, source, start, op) end
  local view
  if kind.of(given) == "Batch" or (type(given) == "table" and given.ids ~= nil) then
    given, view = inputs.read(m, given, op, s.c.max_tokens, o.allow_foreign)
    if given.size ~= count then
      raise("argument", op, ("option decoder has %d rows, the source has %d"):format(given.size, count))
    end
    return given, view
  end
  if type(given) ~= "table" or given[1] == nil then
    raise("argument", op, "option decoder: expected a row of ids, or one for each source")
  end
  local rows = given
  if type(given[1]) == "number" then
    rows = {}
    for i = 1, count do rows[i] = given end
  end
  if #rows ~= count then
    raise("argument", op, ("option decoder has %d rows, the source has %d"):format(#rows, count))
  end
  inputs.check_ids(m, rows, op)
  local batch = core.batch(rows)
  inputs.check_lengths(m, batch.lengths, s.c.max_tokens, op, "decoder row")
  return batch
end

--- An input that is known by what it holds, not by its own rows: pictures become a batch, so that its entry can be told.
---@param m table
---@param input any
---@param op string
---@return any input
---@return table|nil layout of the answers
---@return string entry
function forward.settle(m, input, op)
  local s, view = pass_runner.open(m, op), nil
  if pictures.are(input) then input, view = pictures.batch(m, input, op) end
  return input, view, kind.of(input) == "Batch" and pass_runner.entry_for(s, input) or family.main_entry(s.family)
end

--- Runs a model's passes over an input.
---@param m table
---@param input any
---@param o table checked options: rows, decoder, cache, adapter, allow_foreign
---@param op string
---@param paths table { encode = string[], main = string[] } canonical paths wanted from each
---@return table results of the main pass by name and path
---@return table encoded results of the encoder of an encoder-decoder
---@return table given { batch=, view=, source=, source_view= }
function forward.compute(m, input, o, op, paths)
  local s = pass_runner.open(m, op)
  local work = { rows = read_rows(s, o.rows, op), paths = paths }
  if not family.two_part(s.family) then
    local batch, view = inputs.read(m, input, op, s.c.max_tokens, o.allow_foreign)
    decoder_start.refuse(o, op)
    work.batch, work.adapters = batch, adapters.numbers(s, o.adapter, batch.size, op)
    if o.cache == nil then
      local results, _, answered = pass_runner.run(m, work)
      return results, {}, { batch = answered or batch, view = view }
    end
    work.caches = caches.sequences(o.cache, s, batch, work.adapters)
    caches.renew(o.cache, m, batch)
    local results = pass_runner.run(m, work)
    caches.note(o.cache, batch)
    return results, {}, { batch = batch, view = view }
  end
  if o.cache ~= nil then raise("unsupported", op, "option cache: not for an encoder-decoder yet") end
  local source, source_view = inputs.read(m, input, op, s.c.max_source, o.allow_foreign)
  local batch, view = forward.decoder_batch(m, o, source, op)
  work.batch, work.source, work.adapters = batch, source, adapters.numbers(s, o.adapter, source.size, op)
  local results, encoded, answered, answered_source = pass_runner.run(m, work)
  return results, encoded, { batch = answered or batch, view = view, source = answered_source or source, source_view = source_view }
end

local function place(t, view) return view and view:pad(t) or t end

local function gather(results, list, view)
  local out = {}
  for i, path in ipairs(list) do out[i] = place(results[path], view) end
  return out
end

local function wanted_outputs(s, list, op)
  local encoder = family.two_part(s.family)
  local known = { "hidden_states", "last_hidden_state", "logits", "pooled", "start_logits", "end_logits" }
  if encoder then known[#known + 1], known[#known + 2] = "encoder_last", "encoder_hidden_states" end
  local set = {}
  for _, name in ipairs(list) do
    local found = false
    for _, k in ipairs(known) do found = found or k == name end
    if not found then
      raise("option", op, "option outputs: " .. options.show(name) .. " is not known", options.unknown(name, known, "outputs", op))
    end
    set[name] = true
  end
  return set
end

--- What a call asks for, as paths of the passes.
local function plan_paths(s, set, entry)
  local program = pass_runner.program(s, entry)
  local encoder = family.two_part(s.family)
  local hidden = hidden_paths(program, encoder and "decoder." or nil)
  local wanted = { hidden = hidden, main = {}, encode = {}, encoder_hidden = {} }
  if set.hidden_states then
    for i, path in ipairs(hidden) do wanted.main[i] = path end
  elseif set.last_hidden_state and s.head ~= "base" then
    wanted.main[1] = hidden[#hidden]
  end
  if set.encoder_hidden_states then
    wanted.encoder_hidden = hidden_paths(pass_runner.program(s, "encode"), "encoder.")
    wanted.encode = wanted.encoder_hidden
  end
  return wanted
end

local spec = { rows = "string|table", outputs = "table", decoder = "table|Batch", decoder_start_token_id = "count", cache = "any",
  adapter = "string|boolean|table", allow_foreign = "boolean" }

--- One pass over an input. Ragged answers are [token, …], or [batch, …] for rows="last"; a padded
--- input is answered in its own layout.
---@param m Model
---@param input any text, ids, a list of either, a Batch, { ids=, mask= }, { image= | pixels= }, or { text=, image= }
---@param opts table|nil { rows="last"|"all"|lists, outputs=, decoder=, decoder_start_token_id=, cache=,
--- adapter= (a name, or one or false for each row), allow_foreign= }
---@return table { logits=, hidden_states=, pooled=, …, batch= }
function forward.forward(m, input, opts)
  local s = pass_runner.open(m, "forward")
  local o = options.check(opts, spec, "forward")
  local set = o.outputs and wanted_outputs(s, o.outputs, "forward") or nil
  if pair.is(input) then return pair.forward(m, input, o, forward.forward) end
  local settled, view, entry = forward.settle(m, input, "forward")
  local wanted = plan_paths(s, set or {}, entry)
  local results, encoded, given = forward.compute(m, settled, o, "forward", wanted)
  given.view = given.view or view
  forwards = forwards + 1
  s.last_forward = { input = input, opts = o, number = forwards }   -- what a person asks about afterwards
  local out = { batch = given.batch }
  for _, name in ipairs { "logits", "last_hidden_state", "pooled", "start_logits", "end_logits" } do
    if results[name] and (not set or set[name]) then out[name] = place(results[name], given.view) end
  end
  set = set or {}
  if set.hidden_states then out.hidden_states = gather(results, wanted.hidden, given.view) end
  if set.last_hidden_state and not out.last_hidden_state then
    out.last_hidden_state = place(results[wanted.hidden[#wanted.hidden]], given.view)
  end
  if encoded.encoded then
    out.encoder_last = place(encoded.encoded, given.source_view)
    if set.encoder_hidden_states then out.encoder_hidden_states = gather(encoded, wanted.encoder_hidden, given.source_view) end
  end
  for name in pairs(set) do
    if out[name] == nil then
      raise("option", "forward", ("option outputs: head %s of this model gives no %s"):format(s.head, name))
    end
  end
  return core.answer(out)
end

return forward
