-- Do model and tokenizer belong together? Looked at when a model is loaded, when tokens are added to its
-- tokenizer, and by pl.check.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local pass_runner = require "perilune.loaded.pass_runner"
local fingerprint = require "perilune.loaded.fingerprint"
local origin = require "perilune.loaded.origin"
local turn_end = require "perilune.chat.turn_end"

local tokenizer_check = {}

-- ---------------------------------------------------------------- ids against rows

local function add_error(errors, text, hint) errors[#errors + 1] = { text = text, hint = hint } end

-- Added tokens without a row: each would fail when it is used, so the pair is refused, used or not.
local function added_beyond(tokenizer, rows)
  local list = {}
  for _, token in ipairs(tokenizer.added_tokens) do
    if token.id >= rows then list[#list + 1] = token end
  end
  return list
end

local resize = "resize the model's embedding to %d rows and save it again, or take the added tokens out of the tokenizer's files"

local function check_ids(s, tokenizer, errors)
  local rows, highest = s.vocab_rows, tokenizer.max_base_id   -- base vocabulary and special tokens
  local added = added_beyond(tokenizer, rows)
  if tokenizer.vocab_size > rows or (highest >= rows and #added == 0) then
    add_error(errors, ("tokenizer id %d has no embedding row (the model has %d): this tokenizer belongs to another model"):format(highest, rows),
      "give the tokenizer that was trained with it, or tokenizer=false to use ids")
  elseif #added > 0 then
    local first, last = added[1], added[#added]
    local which = #added == 1 and ("tokenizer id %d has"):format(first.id)
      or ("tokenizer ids %d to %d have"):format(first.id, last.id)
    local tokens = #added == 1 and ("1 token was added (%s)"):format(first.piece)
      or ("%d tokens were added (%s to %s)"):format(#added, first.piece, last.piece)
    add_error(errors, ("%s no embedding row (the model has %d): %s without resizing the embedding"):format(which, rows, tokens),
      resize:format(tokenizer.max_id + 1))
  elseif tokenizer.max_id >= rows then
    add_error(errors, ("tokenizer id %d has no embedding row (the model has %d)"):format(tokenizer.max_id, rows),
      "give the tokenizer that was trained with it, or tokenizer=false to use ids")
  end
end

-- Rows above the vocabulary are usual (rounded up for speed) and masked from sampling; many are not.
local function note_padding_rows(s, tokenizer, warnings, notes)
  local gap = s.vocab_rows - tokenizer.max_id - 1
  if gap <= 0 then return end
  local text = ("the embedding has %d rows, the tokenizer %d ids"):format(s.vocab_rows, tokenizer.max_id + 1)
  if gap >= 1000 and gap > 0.1 * s.vocab_rows then
    warnings[#warnings + 1] = text .. (": %d rows (%.0f %%) have no token, which suggests the tokenizer of another model"):format(gap,
      100 * gap / s.vocab_rows)
  else
    notes[#notes + 1] = text .. (": ids %d to %d are padding and are never sampled"):format(tokenizer.max_id + 1, s.vocab_rows - 1)
  end
end

-- ---------------------------------------------------------------- special ids in three files

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
local function compare_special(what, sources, rows, warnings)
  local seen = {}
  for _, source in ipairs(sources) do
    local set, text = as_set(source.value)
    if set then
      seen[#seen + 1] = { set = set, says = source.name .. " says " .. text }
      for id in pairs(set) do
        if id >= rows then
          warnings[#warnings + 1] = ("%s_token_id: %s says %d, which has no embedding row (the model has %d) and can never appear")
            :format(what, source.name, id, rows)
        end
      end
    end
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

local function compare_specials(s, tokenizer, warnings)
  for _, what in ipairs { "bos", "eos", "pad" } do
    local key = what .. "_token_id"
    compare_special(what, {
      { name = "config.json", value = s.config[key] },
      { name = "generation_config.json", value = s.generation_file == "generation_config.json" and s.generation[key] or nil },
      { name = "the tokenizer", value = tokenizer.specials[what] },
    }, s.vocab_rows, warnings)
  end
end

-- ---------------------------------------------------------------- kind, lengths, template, padding

local function contains(list, value)
  for _, item in ipairs(list) do if item == value then return true end end
  return false
end

local function check_kind(s, tokenizer, warnings)
  local fitting = s.family.tokenizers
  if fitting and not contains(fitting, tokenizer.kind) then
    warnings[#warnings + 1] = ("a %s tokenizer does not fit family %s (it uses %s)")
      :format(tokenizer.kind, s.family.name, table.concat(fitting, ", "))
  end
end

local function check_length(s, tokenizer, warnings)
  local longest = tokenizer.model_max_length
  if longest and s.c.max_tokens and longest > s.c.max_tokens and longest < 1e9 then
    warnings[#warnings + 1] = ("the tokenizer allows %d tokens, the model has %d positions"):format(longest, s.c.max_tokens)
  end
end

local function template_sources(tokenizer)
  local list = {}
  for _, source in pairs(fingerprint.templates(tokenizer)) do list[#list + 1] = source end
  return list
end

-- What a template writes must be tokens; and when it writes bos itself, its text must not get another.
local function check_template(s, tokenizer, errors, warnings, notes)
  local bos = tokenizer.specials.bos
  local adds = bos ~= nil and tokenizer:ids("a")[1] == bos
  for name, source in pairs(fingerprint.templates(tokenizer)) do
    local seen = {}
    for written in source:gmatch "<|[%w_]+|>" do
      local id = tokenizer:id(written)
      if id and id >= s.vocab_rows and not seen[written] then
        add_error(errors, ("the chat template writes %s, id %d, which has no embedding row (the model has %d)"):format(written, id, s.vocab_rows),
          resize:format(id + 1))
      elseif not id and not seen[written] then
        warnings[#warnings + 1] = ("the chat template (%s) writes %s, which is no token of this tokenizer: it would be cut into pieces")
          :format(name, written)
      end
      seen[written] = true
    end
    if adds and (source:find("bos_token", 1, true) or source:find(tokenizer:piece(bos), 1, true)) then
      notes[#notes + 1] = ("the chat template (%s) writes %s itself: encode its text with special=false, as generate does with messages")
        :format(name, tokenizer:piece(bos))
    end
  end
end

-- A model whose eos is not what its template puts behind an answer goes on as the user.
local function check_turn_end(s, tokenizer, warnings)
  local id, text, eos = turn_end.id(tokenizer), turn_end.text(tokenizer), s.generation_defaults.eos_token_id
  local only = ": answers to messages stop there too, other text does not"
  if id and not turn_end.among(id, eos) then
    warnings[#warnings + 1] = ("the chat template ends a turn with %s (id %d), which is not among eos_token_id%s"):format(tokenizer:piece(id), id, only)
  elseif text then
    warnings[#warnings + 1] = ("the chat template ends a turn with %q, which is no special token of this tokenizer%s"):format(text, only)
  end
  local templates = table.concat(template_sources(tokenizer), "\n")
  for _, other in ipairs(turn_end.vocabulary(tokenizer)) do
    local piece = tokenizer:piece(other)
    if other ~= id and not turn_end.among(other, eos) and templates:find(piece, 1, true) then
      warnings[#warnings + 1] = ("the chat template writes %s (id %d), which ends turns in other models and is not among eos_token_id%s")
        :format(piece, other, only)
    end
  end
end

-- Ids that a generation file names and the vocabulary has not, ends that can never come, room that there is not.
local function check_generation(s, tokenizer, warnings)
  local file, g = s.generation_file, s.generation_defaults
  local suppressed = {}
  for _, id in ipairs(type(g.suppress_tokens) == "table" and g.suppress_tokens or {}) do suppressed[id] = true end
  local eos = type(g.eos_token_id) == "table" and g.eos_token_id or { g.eos_token_id }
  for _, id in ipairs(eos) do
    if suppressed[id] then
      warnings[#warnings + 1] = ("%s: suppress_tokens holds %d, which is in eos_token_id too: no text can end with it"):format(file, id)
    end
  end
  for _, key in ipairs { "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id" } do
    for _, id in ipairs(type(g[key]) == "table" and g[key] or { g[key] }) do
      if id >= s.vocab_rows then
        warnings[#warnings + 1] = ("%s: %s names id %d, which has no embedding row (the model has %d)"):format(file, key, id, s.vocab_rows)
      end
    end
  end
  local stops = type(g.stop_strings) == "table" and g.stop_strings or { g.stop_strings }
  for _, text in ipairs(stops) do
    if text:find "^<|[%w_]+|>$" and not tokenizer:id(text) then
      warnings[#warnings + 1] = ("%s: stop_strings has %s, which is no token of this tokenizer"):format(file, text)
    end
  end
  local new = g.max_new_tokens or 0
  if s.c.max_tokens and new > s.c.max_tokens then
    warnings[#warnings + 1] = ("%s: max_new_tokens %d is beyond the model's %d positions"):format(file, new, s.c.max_tokens)
  end
end

local function note_pad(tokenizer, notes)
  if tokenizer.specials.pad == nil then
    notes[#notes + 1] = "no padding token: padded views hold id 0 there, behind a mask; padding is never computed, so no result depends on it"
  end
end

--- Errors, warnings and notes of a pair. An error is { text=, hint= }.
---@param s table a model's state: config, generation, family, c, vocab_rows
---@param tokenizer userdata
---@return table[] errors
---@return string[] warnings
---@return string[] notes
function tokenizer_check.pairing(s, tokenizer)
  local errors, warnings, notes = {}, {}, {}
  check_ids(s, tokenizer, errors)
  compare_specials(s, tokenizer, warnings)
  check_turn_end(s, tokenizer, warnings)
  check_generation(s, tokenizer, warnings)
  check_kind(s, tokenizer, warnings)
  check_length(s, tokenizer, warnings)
  note_padding_rows(s, tokenizer, warnings, notes)
  check_template(s, tokenizer, errors, warnings, notes)
  note_pad(tokenizer, notes)
  return errors, warnings, notes
end

-- ---------------------------------------------------------------- tokens added later

local owners = setmetatable({}, { __mode = "k" })   -- tokenizer → states of the models that use it, which it does not keep
local add

-- Counts what tok:add would add: pieces that are not there yet, each once.
local function new_pieces(tokenizer, pieces)
  local seen, count = {}, 0
  for _, piece in ipairs(pieces) do
    if type(piece) == "string" and not seen[piece] and tokenizer:id(piece) == nil then seen[piece], count = true, count + 1 end
  end
  return count
end

--- Adds pieces after the highest id (those already there keep theirs). Of a model's own tokenizer only as
--- many as the embedding has rows: a token without one could never be used.
---@param pieces string[]|table { …, special= }
---@return integer[] ids
local function checked_add(tokenizer, pieces)
  local states = owners[tokenizer]
  if states and type(pieces) == "table" then
    local count = new_pieces(tokenizer, pieces)
    for s in pairs(states) do
      local highest = tokenizer.max_id + count
      if count > 0 and not s.closed and highest >= s.vocab_rows then
        raise("pairing", "add", ("id %d would have no embedding row (%s has %d)"):format(highest, s.path, s.vocab_rows),
          ("resize the model's embedding to %d rows and save it again, or add to a tokenizer by itself: pl.tokenizer(path)"):format(highest + 1))
      end
    end
  end
  local ids = add(tokenizer, pieces)
  for s in pairs(states or {}) do s.reachable = math.min(s.vocab_rows, tokenizer.max_id + 1) end
  return ids
end

--- Notes that a model uses a tokenizer, so that tokens added to it are checked.
---@param tokenizer Tokenizer
---@param s table the model's state
function tokenizer_check.remember(tokenizer, s)
  owners[tokenizer] = owners[tokenizer] or setmetatable({}, { __mode = "k" })
  owners[tokenizer][s] = true
  if not add then
    add = tokenizer.add
    core.extend("Tokenizer", { add = checked_add })
  end
end

-- ---------------------------------------------------------------- pl.check

-- Another tokenizer than the model's own is a stranger's unless the probe says that it fits better.
local function compare_with_own(model, tokenizer, probed, out)
  local own = model.tokenizer
  if own == nil or own:same_vocabulary(tokenizer) then return end
  local text = ("%s is not the model's own tokenizer, %s: %s"):format(origin.name(tokenizer), origin.name(own),
    origin.difference(tokenizer, own))
  if probed and probed.verdict == "own" then
    out.warnings[#out.warnings + 1] = text .. "; the probe says that it fits the weights"
  else
    out.errors[#out.errors + 1] = text
  end
end

--- Whether a model and a tokenizer belong together: embedding rows, special tokens, kind, lengths, template.
--- Another tokenizer than the model's own is an error. With `probe`, also how fixed texts fare and what the
--- embedding says, which betrays a stranger's tokenizer of the same size.
---
---     local m = pl.load "scripts/models/tales"
---     print(pl.check(m).ok)                                                 --> true
---     print(pl.check(m, pl.tokenizer "scripts/models/reviews").ok)          --> false
---@param model Model
---@param tokenizer Tokenizer|nil default: the model's own
---@param opts table|nil { probe=true, on_progress=function(done) }
---@return table { ok=, errors=, warnings=, notes=, probe= } notes: what is odd and harmless
function tokenizer_check.check(model, tokenizer, opts)
  if kind.of(model) ~= "Model" then raise("argument", "check", "expected a model, got " .. options.show(model)) end
  local s = pass_runner.open(model, "check")
  local o = options.check(opts, { probe = "boolean", on_progress = "function" }, "check")
  tokenizer = tokenizer or model.tokenizer
  if tokenizer == nil then
    return core.answer { ok = true, errors = {}, warnings = { "no tokenizer: " .. (model.tokenizer_reason or "none was loaded") }, notes = {} }
  end
  if kind.of(tokenizer) ~= "Tokenizer" then
    raise("argument", "check", "expected a tokenizer, got " .. options.show(tokenizer))
  end
  local found, warnings, notes = tokenizer_check.pairing(s, tokenizer)
  local out, probed = { errors = {}, warnings = warnings, notes = notes }, nil
  for i, one in ipairs(found) do out.errors[i] = one.text .. "; " .. one.hint end
  if o.probe and #out.errors == 0 then
    probed = require("perilune.loaded.probe").run(model, s, tokenizer, out, o.on_progress)
  end
  compare_with_own(model, tokenizer, probed, out)
  out.ok, out.probe = #out.errors == 0, probed
  return core.answer(out)
end

return tokenizer_check
