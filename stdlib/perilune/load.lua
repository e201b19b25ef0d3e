-- pl.load: from a folder to a model that is known to fit together.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local config = require "perilune.families.config"
local family = require "perilune.loaded.family"
local passes = require "perilune.loaded.passes"
local stored_heads = require "perilune.loaded.stored_heads"
local place = require "perilune.loaded.place"
local pass_runner = require "perilune.loaded.pass_runner"
local check = require "perilune.loaded.tokenizer_check"
local ready = require "perilune.loaded.ready"
local padding = require "perilune.loaded.padding"
local picture_positions = require "perilune.loaded.picture_positions"
local catalogue = require "perilune.loaded.catalogue"
local gguf = require "perilune.loaded.gguf_folder"
local whisper_file = require "perilune.loaded.whisper_file"
local quantize = require "perilune.loaded.quantize"
local quantized_folder = require "perilune.loaded.quantized_folder"
local generation_rules = require "perilune.serve.generation_rules"
local decoder_start = require "perilune.loaded.decoder_start"
local methods = require "perilune.quantization.methods"
local adapters = require "perilune.loaded.adapters"
local ranks = require "perilune.loaded.ranks"
local Model = require "perilune.model"

local load = {}

local most_settings = 32 * 2 ^ 20   -- bytes of a file of settings

local spec = {
  device = "string", device_map = "string|table", max_memory = "table", compute = { "auto", "f32", "bf16", "int8" }, quantize = "string|table",
  cache = { "f32", "f16", "bf16", "int8" }, threads = "positive", head = "string", tokenizer = "string|boolean|Tokenizer",
  outliers = "number", adapters = "string|table", mmap = "boolean", on_progress = "function", allow_oversize = "boolean",
  interpolate_pos_encoding = "boolean|number|table",
}

local function read_object(path)
  local text = core.read_file(path, most_settings)
  local value = core.json(text, path)
  if type(value) ~= "table" or (value[1] ~= nil) or getmetatable(value) ~= nil and next(value) == nil then
    raise("format", "load", path .. " must hold a JSON object")
  end
  config.remember(value, text)
  return value
end

-- The one GGUF file of a folder that is no model folder itself.
local function gguf_inside(folder)
  if not core.folder_exists(folder) or core.file_exists(folder .. "/config.json") then return nil end
  local found
  for _, name in ipairs(core.list_directory(folder)) do
    if name:match "%.gguf$" then
      if found and not name:match "%-of%-%d+%.gguf$" then return nil end
      found = found or name
    end
  end
  return found and folder .. "/" .. found
end

-- A file of a model folder stands for no model by itself.
local function refuse_part(path, op)
  local folder, name = path:match "^(.-)/?([^/]*)$"
  folder = folder == "" and "." or folder
  if not (name:find "%.json$" or name:find "%.safetensors$" or name == "tokenizer.model") then return end
  if core.file_exists(path) and core.file_exists(folder .. "/config.json") then
    raise("file", op, path .. " is one file of a model", "load the folder that holds it: " .. folder)
  end
end

-- A path, config.json, what says how to generate and its name, what else a GGUF file says, and where the weights lie
-- if not there.
local function read_configs(path, op)
  if type(path) ~= "string" or path == "" then raise("argument", op, "expected the path of a model folder, got " .. options.show(path)) end
  refuse_part(path, op)
  path = #path > 1 and path:gsub("/+$", "") or path
  path = catalogue.path(path, op)
  path = gguf_inside(path) or path
  local whisper = whisper_file.read(path)
  if whisper then return whisper.path, whisper.json, whisper.generation, whisper.file, nil, whisper.weights end
  if core.file_exists(path) then
    local record = gguf.read(path)
    return record.path, record.json, record.json, record.path:match "[^/]*$", record
  end
  if not core.file_exists(path .. "/config.json") then
    raise("file", op, core.folder_exists(path) and "no config.json in " .. path or path .. " is not there",
      "a model is a folder with config.json and model.safetensors, a GGUF file, Whisper of CTranslate2 "
        .. "or whisper.cpp, or one of " .. table.concat(catalogue.names(), ", "))
  end
  local json = read_object(path .. "/config.json")
  local generation, file = json, "config.json"
  if core.file_exists(path .. "/generation_config.json") then
    generation, file = read_object(path .. "/generation_config.json"), "generation_config.json"
  end
  return path, json, generation, file
end

-- Traces every entry, so that a wrong shape is an error before a weight is read; then nothing stored
-- may be left over.
local function trace_all(s)
  stored_heads.trace(s)
  passes.touch_other_heads(s.checkpoint, s.family, s.c, s.head)
  local unread = s.checkpoint:unread()
  if #unread > 0 then
    local shown = {}
    for i = 1, math.min(#unread, 4) do shown[i] = unread[i] end
    raise("format", "load", ("%d stored tensors are read by no pass of family %s: %s%s"):format(#unread, s.family.name,
      table.concat(shown, ", "), #unread > 4 and ", …" or ""), "config.json and the weights disagree, or the family is another one")
  end
end

-- c.rows: tables whose rows config.json counts, as path → { key, count, rows before the first }.
local function check_rows(s)
  for path, row in pairs(s.c.rows or {}) do
    local sizes = s.checkpoint:sizes(path .. ".weight")
    if sizes and sizes[1] ~= row[2] + (row[3] or 0) then
      raise("shape", "load", ("config.json: %s %d does not fit %s.weight [%s]"):format(row[1], row[2], path, table.concat(sizes, ", ")))
    end
  end
end

local function embedding_rows(s)
  local vocab = s.c.axes.vocab
  if not s.family.embedding and not vocab and s.c.axes.channel then return 0 end   -- reads pictures alone
  if not s.family.embedding then return vocab or raise("argument", "load", "family " .. s.family.name .. ": axes.vocab is missing") end
  local sizes = s.checkpoint:sizes(s.family.embedding .. ".weight")
  if not sizes then return vocab end
  if vocab and sizes[1] ~= vocab then
    raise("shape", "load", ("config.json: vocab_size %d does not fit %s.weight [%s]"):format(vocab, s.family.embedding, table.concat(sizes, ", ")))
  end
  return sizes[1]
end

-- Names of one tensor, in groups.
local function ties_of(s)
  local ties = s.family.ties
  if type(ties) == "function" then ties = ties(s.c) end
  return ties
end

-- LLM.int8's decomposition, which its model says aloud.
local function read_outliers(s, from)
  if not from then return end
  if not (from > 0 and from < math.huge) then
    raise("option", "load", "option outliers: expected a magnitude above 0, got " .. tostring(from), "published: 6.0")
  end
  ranks.refuse(s, "load", "inputs that are multiplied apart want whole rows")
  s.outliers = from
  s.warnings[#s.warnings + 1] = ("outliers = %g: which inputs are multiplied apart depends on all rows of a step, so answers are "
    .. "not batch-invariant"):format(from)
end

--- Everything but packed weights: configs read, family chosen, files validated, passes traced.
---@param path string
---@param o table checked options of pl.load
---@param op string
---@return table state
function load.prepare(path, o, op)
  local folder, json, generation, file, record, weights = read_configs(path, op)
  local s = { path = folder, config = json, generation = generation, generation_file = file, programs = {}, plans = {}, hooks = {}, warnings = {},
    embedding_recipe = record and record.recipe, gguf = record ~= nil }
  s.family, s.head, s.named_head = family.choose(json, o.head)
  s.c = family.configure(s.family, json)
  s.warnings = family.unknown_keys(s.family, json)
  picture_positions.choose(s, o.interpolate_pos_encoding)
  s.generation_defaults, s.generation_wrong = generation_rules.read(generation, file)
  for _, text in ipairs(generation_rules.warnings(generation, file, s.generation_wrong)) do s.warnings[#s.warnings + 1] = text end
  for _, text in ipairs(record and record.warnings or {}) do s.warnings[#s.warnings + 1] = s.generation_file .. ": " .. text end
  local stored = record and gguf.checkpoint_options(record, s.c) or { prefixes = s.family.prefixes,
    views = s.family.weights and s.family.weights(s.c) or nil, unused = s.family.unused, axes = s.c.axes }
  stored.mmap, stored.ties = o.mmap, s.c.tied and ties_of(s) or nil
  s.checkpoint = core.checkpoint(weights or folder, stored)
  picture_positions.interpolate(s)
  s.threads, s.load, s.rank_model = o.threads, load.load, ranks.number()
  read_outliers(s, o.outliers)
  adapters.read(s, o.adapters)
  local fine, err = pcall(trace_all, s)
  if not fine then
    local guess = type(err) == "table" and not kind.no_memory(err) and config.guess_hint(json)
    if guess then err.hint, err.message = guess, ("%s; %s"):format(err.message, guess) end
    error(err, 0)
  end
  adapters.check(s)
  s.labels = config.label_names(s.c, json, family.has_classes[s.head])   -- the weights' sizes were seen now
  s.recipe = quantized_folder.recipe(s)
  if o.quantize then quantize.by_recipe(s, o.quantize, op) end
  place.model(s, o)
  s.vocab_rows = embedding_rows(s)
  if family.two_part(s.family) then s.decoder_start = decoder_start.of(s) end
  check_rows(s)
  return s
end

local function read_tokenizer(s, wanted)
  if kind.of(wanted) == "Tokenizer" then return wanted end
  if wanted == false then return nil, "it was loaded with tokenizer=false" end
  local from = type(wanted) == "string" and catalogue.path(wanted, "load") or s.path
  local tokenizer, reason = core.tokenizer(from)
  if not tokenizer and type(wanted) == "string" then raise("unsupported", "load", "option tokenizer: " .. tostring(reason)) end
  return tokenizer, reason
end

local function pair(s, tokenizer)
  if not tokenizer then return end
  local errors, warnings = check.pairing(s, tokenizer)
  if errors[1] then raise("pairing", "load", errors[1].text, errors[1].hint) end
  for _, text in ipairs(warnings) do s.warnings[#s.warnings + 1] = text end
  for _, text in ipairs(tokenizer.warnings or {}) do s.warnings[#s.warnings + 1] = text end
  s.reachable = math.min(s.vocab_rows, tokenizer.max_id + 1)
end

-- A model whose quantization is searched with the model itself: loaded whole first.
local function load_searched(path, o)
  local plain = {}
  for key, value in pairs(o) do plain[key] = value end
  plain.quantize = nil
  local m = load.load(path, plain)
  local fine, q = pcall(m.quantize, m, o.quantize, { compute = o.compute, on_progress = o.on_progress })
  m:close()
  return fine and q or error(q, 0)
end

local function load_here(path, o)
  local s = load.prepare(path, o, "load")
  local tokenizer, reason = read_tokenizer(s, o.tokenizer)
  pair(s, tokenizer)
  if tokenizer then
    padding.remember(tokenizer, s.family.padding)
    check.remember(tokenizer, s)
  end
  s.reachable = s.reachable or s.vocab_rows
  s.options = o
  return setmetatable(ready.fields(s, tokenizer, reason, o.on_progress), Model)
end

--- Loads a model folder: config.json, safetensors weights, a tokenizer where there is one. Checks
--- that everything fits together before a weight is used.
---
---     local m = pl.load("scripts/models/tales", { device = "cpu", compute = "f32" })
---     print(m.family, m.head, m.max_tokens)                               --> llama	causal	512
---
--- `device_map` spreads a model over devices; keys and values lie with their layers. A table of patterns → device, the
--- longest that fits wins: { ["layers.0-15"] = "cuda:0", ["*"] = "cpu" }. `*` stands for any characters of one component, a
--- leading `*` for any depth before it too, 0-15 for those numbers; a pattern names a module with all below it: embeddings,
--- layers.N, norm, logits (m.device_map lists them), or a module's own path. "auto": one device where the model fits, else
--- as "sequential": each filled before the next; "balanced": every accelerator the same. These three choose among the devices
--- that max_memory names, else `device` and the CPU, else all; the CPU comes last.
---
--- Under mpirun (`mpirun -n 4 perilune script.lua`, 1, 2, 4 or 8 processes) all of them compute the model together: docs/ranks.md.
---
--- `quantize` stores weights in fewer bits while they are loaded, a layer in memory at a time: the name of a type for all
--- layers, or a table of patterns → type, the longest that fits first, as in device_map. See m:quantize.
---
---     local m = pl.load("scripts/models/tales", { quantize = { ["layers.*.mlp.*"] = "nf4", lm_head = "int8" }, compute = "f32" })
---     print(m.quantization.lm_head)                                         --> int8
--- `outliers` is LLM.int8's decomposition (arXiv:2208.07339), for products in compute="int8": inputs that any row of a step
--- has at that magnitude or above (published: 6.0) are multiplied apart, in f32, instead of being rounded to eight bits. Off
--- by default: which inputs those are depends on all rows of a step, so answers are then not batch-invariant, which the model
--- says in its warnings; it takes the time of both products.
---
---     local m = pl.load("scripts/models/tales", { quantize = "int8", outliers = 6.0 })
---     print(m.compute, m.outliers)                                          --> int8	6
---@param path string a folder, a file, or the name of a known model (perilune get --list)
---@param opts LoadOptions|nil
---@return Model
function load.load(path, opts)
  if type(path) == "table" and type(opts) == "string" then raise("argument", "load", "called with a colon", "with a dot: pl.load(path)") end
  local o = options.check(opts, spec, "load")
  return ranks.load(path, o, function() return methods.asks(o.quantize) and load_searched(path, o) or load_here(path, o) end)
end

--- A model's state with its tokenizer, no weight packed: for what writes models.
---@param path string
---@param o table checked options
---@param op string
---@return table state
---@return Tokenizer|nil tokenizer
function load.unpacked(path, o, op)
  local s = load.prepare(path, o, op)
  return s, (read_tokenizer(s, nil))
end

--- What a model would take, from the headers of its files alone.
---
---     local needs = pl.estimate "scripts/models/tales"
---     print(needs.weights > 0, needs.fits.cpu)                             --> true	true
---@param path string
---@param opts LoadOptions|nil
---@return table { weights=, cache_per_token= (while no window is full), cache_context= (of one whole context), workspace=, fits={ device → boolean } }
function load.estimate(path, opts)
  if type(opts) == "table" and methods.asks(opts.quantize) then
    raise("unsupported", "estimate", "what a search comes to is known after it", "estimate the type by itself")
  end
  local s = load.prepare(path, options.check(opts, spec, "estimate"), "estimate")
  local pool = pass_runner.pool(s)
  local out = pass_runner.needs(s, 512, 16)
  out.cache_per_token, out.fits = pool and pool.bytes_per_token or 0, {}
  out.cache_context = pass_runner.context_bytes(s, pool)
  local some = pool and pool:bytes_for(1024) or 0
  for _, device in ipairs(core.devices()) do
    out.fits[device.name] = out.weights + out.workspace + some <= (device.free or 0)
  end
  s.checkpoint:close()
  return core.answer(out)
end

--- Where a weight or an op lives: devices that can be used now. A GPU that nothing has asked for yet is `idle`:
--- all of its memory counts as free, since what others hold is not known.
---
---     print(pl.devices()[1].name)                                           --> cpu
---@return table[] list of { name=, kind=, memory=, free=, tier=, idle= }
function load.devices() return core.answer(core.devices()) end

--- Whether the devices are well.
---
---     print(pl.health().ok)                                                 --> true
---@return table { ok=, devices={ … } }
function load.health()
  local list, ok = core.devices(), true
  for _, device in ipairs(list) do
    if device.error then ok = false end
  end
  return core.answer { ok = ok, devices = list }
end

--- Opens a tokenizer by itself: a model folder, a tokenizer's file, or the name of a known model.
---
---     local tok = pl.tokenizer "scripts/models/reviews"
---     print(tok.kind, tok:piece(tok:ids("good", { special = false })[1]))   --> wordpiece	good
---@param path string
---@param opts table|nil { pattern= (what tiktoken ranks are cut by, where the number of ranks does not tell) }
---@return Tokenizer
function load.tokenizer(path, opts)
  if type(path) ~= "string" then
    raise("argument", "tokenizer", "expected a path, got " .. options.show(path), type(opts) == "string" and "with a dot: pl.tokenizer(path)" or nil)
  end
  local tokenizer, reason = core.tokenizer(catalogue.path(path, "tokenizer"), opts)
  if not tokenizer then raise("unsupported", "tokenizer", tostring(reason)) end
  return tokenizer
end

return load
