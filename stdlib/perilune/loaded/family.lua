-- The families a state knows, and which one a config.json belongs to.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local names_of = require "perilune.base.names_of"
local config = require "perilune.families.config"
local rope = require "perilune.families.rope"

local family = {}
local registered = {}   -- by name, in order of `order`
local order = {}

--- Whether a family reads a source with one pass and writes an answer with another.
---@param t table
---@return boolean
function family.two_part(t) return t.encode ~= nil and t.decode ~= nil end

-- Heads that give a value per token: "last" and listed rows choose among its tokens.
family.per_token = { causal = true, seq2seq = true, masked = true, token = true, question = true }
-- Heads that predict a next token: m:forward and requests give the last row's logits when nobody says.
family.predicts_next = { causal = true, seq2seq = true }
-- Heads that answer with classes.
family.has_classes = { sequence = true, token = true }
family.heads = { "base", "causal", "seq2seq", "masked", "sequence", "token", "question" }

local spec = {
  name = "string", model_types = "table", architectures = "table", padding = { "left", "right" }, tokenizers = "table",
  keys = "table", config = "function", weights = "function", gguf = "table", prefixes = "table", unused = "table",
  embedding = "string", ties = "table|function", encode = "function", decode = "function", cross = "function", encode_text = "function",
  encode_image = "function", variant_of = "string", entries = "table", heads = "table", decoder_ids = "function", embed = "table",
}

-- Passes that a family may have, in the order they run.
local known_entries = { "encode", "encode_text", "encode_image", "cross", "decode" }

-- complete(json, head): what metadata says in other ways; head as core.gguf_head gives it.
local gguf_spec = { metadata = "table", tensors = "table|function", views = "function", permute = "table", add = "table", complete = "function" }

-- The family's entries: those it lists, or those it has of the known ones.
local function read_entries(t)
  local list = {}
  if t.entries == nil then
    for _, name in ipairs(known_entries) do if t[name] ~= nil then list[#list + 1] = name end end
    return list
  end
  if type(t.entries) ~= "table" then raise("argument", "family", "entries: expected a list of names, got " .. options.show(t.entries)) end
  for i, name in ipairs(t.entries) do
    if type(name) ~= "string" or type(t[name]) ~= "function" then
      raise("argument", "family", ("entries: %s names no function of the family"):format(options.show(name)))
    end
    list[i] = name
  end
  return list
end

local function check(t)
  local entries, own_spec = read_entries(t), {}
  for key, value in pairs(spec) do own_spec[key] = value end
  for _, name in ipairs(entries) do own_spec[name] = "function" end
  options.check(t, own_spec, "family")
  if t.gguf then options.check(t.gguf, gguf_spec, "family: gguf") end
  for _, key in ipairs { "name", "architectures", "config", "heads" } do
    if t[key] == nil then raise("argument", "family", "key " .. key .. " is missing") end
  end
  if #entries == 0 or (#entries == 1 and t.cross) then raise("argument", "family", "no pass: one of encode and decode is needed") end
  if t.cross and not (t.encode and t.decode) then raise("argument", "family", "cross needs encode and decode") end
  for name, head in pairs(t.heads) do
    local known = false
    for _, k in ipairs(family.heads) do known = known or k == name end
    if not known or type(head) ~= "function" then
      raise("argument", "family", ("heads.%s: heads are functions named %s"):format(tostring(name), table.concat(family.heads, ", ")))
    end
  end
  for architecture, head in pairs(t.architectures) do
    if not t.heads[head] then
      raise("argument", "family", ("architectures.%s: there is no heads.%s"):format(tostring(architecture), tostring(head)))
    end
  end
end

local function claimed(t)
  for _, other in ipairs(order) do
    if other.name ~= t.name then
      for architecture in pairs(t.architectures) do
        if other.architectures[architecture] then
          raise("argument", "family", ("architecture %s belongs to family %s already"):format(architecture, other.name))
        end
      end
      for _, mine in ipairs(t.model_types or {}) do
        for _, theirs in ipairs(other.model_types or {}) do
          if mine == theirs then
            raise("argument", "family", ("model type %s belongs to family %s already"):format(mine, other.name))
          end
        end
      end
    end
  end
end

local function register(t)
  check(t)
  t.entries = read_entries(t)
  claimed(t)
  if registered[t.name] then
    for i, other in ipairs(order) do if other.name == t.name then order[i] = t end end
  else
    order[#order + 1] = t
  end
  registered[t.name] = t
end

local loaded = false
local function load_shipped()
  if loaded then return end
  for _, name in ipairs(require "perilune.models") do
    if not registered[name] then register(require("perilune.models." .. name)) end
  end
  loaded = true
end

--- Registers a family of models (see the reference: Families). The same name again replaces it for
--- models loaded from then on.
---@param t table
---@return table t
function family.register(t)
  if type(t) ~= "table" then raise("argument", "family", "expected a table, got " .. options.show(t)) end
  load_shipped()
  register(t)
  return t
end

--- All families, in order of registration.
---@return table[]
function family.list()
  load_shipped()
  return order
end

--- Whether the head follows this entry: decode, or every one of a family without decode.
---@param t table
---@param entry string
---@return boolean
function family.has_head(t, entry) return entry == "decode" or t.decode == nil end

--- The entry that carries the head; of several, the first.
---@param t table
---@return string
function family.main_entry(t)
  for _, entry in ipairs(t.entries) do if family.has_head(t, entry) then return entry end end
end

--- What a script may know of all families, sorted by name; prints as a table.
---
---     local first = pl.families()[1]
---     print(first.name, first.heads[1])                                     --> bart	base
---@return table[] list of { name=, model_types=, architectures=, heads= }
function family.families()
  local list = {}
  for _, t in ipairs(family.list()) do
    list[#list + 1] = { name = t.name, model_types = { unpack(t.model_types or {}) }, architectures = names_of(t.architectures),
      heads = names_of(t.heads) }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return setmetatable(list, { __tostring = function()
    local lines = {}
    for i, one in ipairs(list) do
      lines[i] = ("%-12s %-28s %s"):format(one.name, table.concat(one.model_types, ", "), table.concat(one.heads, ", "))
    end
    return table.concat(lines, "\n")
  end })
end

--- Names of all families, in order of registration.
---@return string[]
function family.names()
  load_shipped()
  local names = {}
  for i, t in ipairs(order) do names[i] = t.name end
  return names
end

local function known_list(field)
  local list = {}
  for _, t in ipairs(order) do
    if field == "architectures" then
      for name in pairs(t.architectures) do list[#list + 1] = name end
    else
      for _, name in ipairs(t.model_types or {}) do list[#list + 1] = name end
    end
  end
  table.sort(list)
  return list
end

local function unknown(what, name, field)
  local list = known_list(field)
  local near = core.nearest(name, list)
  return raise("unsupported", "load", ('config.json: no family knows %s "%s"'):format(what, name),
    (near and ('did you mean "' .. near .. '"? ') or "") .. "known: " .. table.concat(list, ", ") .. "; pl.family adds one")
end

local function by_model_type(name)
  if name == nil then return nil end
  if type(name) ~= "string" then raise("format", "load", "config.json: model_type must be a string, got " .. options.show(name)) end
  for _, t in ipairs(order) do
    for _, known in ipairs(t.model_types or {}) do if known == name then return t end end
  end
  return unknown("model type", name, "model_types")
end

local function by_architecture(json)
  local list = json.architectures
  if list == nil then return nil end
  if type(list) ~= "table" then raise("format", "load", "config.json: architectures must be a list") end
  local name = list[1]
  if name == nil then return nil end
  if type(name) ~= "string" then raise("format", "load", "config.json: architectures must be a list of names") end
  for _, t in ipairs(order) do if t.architectures[name] then return t, t.architectures[name], name end end
  return nil, nil, name
end

local function default_head(t)
  for _, name in ipairs { "causal", "seq2seq", "base" } do if t.heads[name] then return name end end
  local name = next(t.heads)
  return name
end

--- The family and head of a config; `head` is the caller's choice or nil.
---@param json table
---@param head string|nil
---@return table family
---@return string head
---@return string|nil named the head that the file's architecture names, where the caller chose
function family.choose(json, head)
  load_shipped()
  local typed = by_model_type(json.model_type)
  local named, named_head, architecture = by_architecture(json)
  if typed and named and typed ~= named and named.variant_of ~= typed.name then
    raise("format", "load", ('config.json contradicts itself: model_type "%s" is family %s, architecture "%s" is family %s')
      :format(json.model_type, typed.name, architecture, named.name))
  end
  local chosen = named or typed
  if not chosen then
    if architecture then return unknown("architecture", architecture, "architectures") end
    return raise("format", "load", "config.json names neither model_type nor architectures")
  end
  if head then
    if not chosen.heads[head] then
      local list = names_of(chosen.heads)
      raise("option", "load", ('option head: family %s has no head "%s"'):format(chosen.name, head), options.unknown(head, list, "heads", "load"))
    end
    return chosen, head, named_head
  end
  if named_head then return chosen, named_head end
  if architecture then
    return raise("unsupported", "load", ('config.json: family %s has no head for architecture "%s"'):format(chosen.name, architecture),
      'choose one with the option head, for instance head="base"')
  end
  return chosen, default_head(chosen)
end

--- Warnings for keys of config.json that the family does not read.
---@param t table
---@param json table
---@return string[]
function family.unknown_keys(t, json)
  local known = {}
  for _, key in ipairs(t.keys or {}) do known[key] = true end
  local warnings = known.rope_scaling and rope.rope_warnings(json) or {}
  for _, text in ipairs(config.warnings(json)) do warnings[#warnings + 1] = text end
  for key in pairs(json) do
    if not known[key] and not config.shared_keys[key] then
      warnings[#warnings + 1] = ("config.json: family %s does not know the key %s; it is ignored"):format(t.name, options.show(key))
    end
  end
  table.sort(warnings)
  return warnings
end

--- What a family's config function gave, checked: layers, sizes of axes.
---@param t table
---@param json table
---@return table c
function family.configure(t, json)
  if type(json.pruned_heads) == "table" and next(json.pruned_heads) ~= nil then
    raise("unsupported", "load", "config.json: pruned_heads are not supported")
  end
  local c = t.config(json)
  if type(c) ~= "table" or type(c.axes) ~= "table" then
    raise("argument", "load", ("family %s: config must return a table with axes"):format(t.name))
  end
  for axis, size in pairs(c.axes) do
    if type(size) ~= "number" or size % 1 ~= 0 or size < 1 or size > 2 ^ 31 - 1 then
      raise("format", "load", ("config.json gives axis %s the size %s"):format(tostring(axis), tostring(size)))
    end
  end
  return c
end

return family
