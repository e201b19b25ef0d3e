-- The methods of a model that say what it is: its paths, weights' shapes, programs, memory, labels, fingerprint.
local core = require "perilune.core"
local kind = require "perilune.base.kind"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local family = require "perilune.loaded.family"
local fingerprint = require "perilune.loaded.fingerprint"
local pass_runner = require "perilune.loaded.pass_runner"
local inspect = require "perilune.show.inspect"
local program_graph = require "perilune.show.program_graph"

local Model = {}

--- Canonical paths that trace and hook take, in computed order.
---
---     local m = pl.load "scripts/models/tales"
---     print(m:paths()[1])                                                   --> embeddings
---@return string[]
function Model:paths() return (pass_runner.paths(pass_runner.open(self, "paths"))) end

--- Stored modules and their shapes as a printable table; layers that agree are one line.
---
---     local m = pl.load "scripts/models/tales"
---     print(#m:shapes() > 0)                                                --> true
---@return table list of { name=, sizes=, count=, elements= }
function Model:shapes() return inspect.shapes(pass_runner.open(self, "shapes")) end

--- The ops of a compiled pass as a printable table; m:program():graph(file) draws them as an SVG.
---
---     local m = pl.load "scripts/models/tales"
---     print(type(m:program "decode"))                                       --> table
---@param entry string|nil "decode", "encode", "cross" or another entry of the family; default: the main one
---@return table list of { op=, text= }; prints as a table; list:graph(file)
function Model:program(entry)
  local s = pass_runner.open(self, "program")
  entry = entry or family.main_entry(s.family)
  local found = false
  for _, name in ipairs(s.family.entries) do found = found or name == entry end
  if not found then
    raise("argument", "program", ("this model has no entry %s"):format(options.show(entry)),
      "entries: " .. table.concat(s.family.entries, ", "))
  end
  local text, ops = pass_runner.plan(s, entry):text(), {}
  for line in text:gmatch "[^\n]+" do
    local op, rest = line:match "^%d+%s+(%S+)%s*(.*)$"
    if op then ops[#ops + 1] = { op = op, text = rest } end
  end
  return setmetatable(ops, { __tostring = function() return text end, __index = { graph = program_graph.write } })
end

--- Bytes a model takes: weights, keys and values in use, workspace of one step.
---
---     local m = pl.load "scripts/models/tales"
---     local memory = m:memory()
---     print(memory.weights > 0, memory.cache_per_token > 0)                 --> true	true
---@return table { weights=, cache=, kept= (for prompts that begin alike), cache_per_token=, cache_context= (a whole context), workspace=, by_device= }
function Model:memory()
  local s = pass_runner.open(self, "memory")
  local pool = pass_runner.pool(s)
  local out = { weights = 0, cache = 0, kept = pool and pool:kept() or 0, cache_per_token = pool and pool.bytes_per_token or 0,
    cache_context = pass_runner.context_bytes(s, pool), workspace = 0, by_device = {} }
  for _, name in ipairs(pass_runner.devices(s)) do
    local needed = pass_runner.needs(s, 512, 16, name)
    -- A rank's parts of weights are not the checkpoint's.
    local packed, cache = s.rank_model and needed.weights or s.checkpoint:packed_bytes(name), pool and pool:used(name) or 0
    local workspace = needed.workspace
    out.weights, out.cache, out.workspace = out.weights + packed, out.cache + cache, out.workspace + workspace
    out.by_device[name] = packed + cache + workspace
  end
  return core.answer(out)
end

--- Bytes of weights that one generated token reads.
---
---     local m = pl.load "scripts/models/tales"
---     print(m:bytes_per_token())                                            --> 9453568
---@return integer
function Model:bytes_per_token()
  local s = pass_runner.open(self, "bytes_per_token")
  return pass_runner.plan(s, family.main_entry(s.family)):weight_bytes()
end

--- The name of a class: of an id, or of the ids in a tensor (one: a name; several: a list of names).
---
---     local m = pl.load "scripts/models/reviews"
---     local best = m:forward({ "A great place.", "An awful place." }).logits:argmax "class"
---     print(m:label(0), table.concat(m:label(best), " "))                   --> NEGATIVE	POSITIVE NEGATIVE
---@param id integer|Tensor from 0
---@return string|string[]
function Model:label(id)
  pass_runner.expect(self, "Model", "label")
  if not self.labels then raise("argument", "label", "this model has no labels") end
  if kind.of(id) == "Tensor" then
    local ids = id.rank == 0 and id:item() or id:tolist()
    while type(ids) == "table" and #ids == 1 do ids = ids[1] end
    id = ids
  end
  if type(id) == "table" then
    local names = {}
    for i, one in ipairs(id) do names[i] = self:label(one) end
    return names
  end
  local name = self.labels[id]
  if name == nil then
    raise("argument", "label", "no class has id " .. options.show(id), ("ids of classes go from 0 to %d"):format(#self.labels))
  end
  return name
end

--- What the model is, as a short text: equal where weights, configuration, defaults of generation, what
--- the tokenizer does and chat templates are equal, on every machine. Reads every weight.
---
---     local m = pl.load "scripts/models/tales"
---     print(m:fingerprint():match "^llama%-causal%-" ~= nil)                --> true
---@param opts table|nil { parts=false } with true, a table with a text for each part
---@return string|table "family-head-digest", or { weights=, config=, generation=, tokenizer=, template= }
function Model:fingerprint(opts)
  local s = pass_runner.open(self, "fingerprint")
  local o = options.check(opts, { parts = "boolean" }, "fingerprint")
  local parts = fingerprint.parts(s, self.tokenizer)
  return o.parts and parts or fingerprint.text(s, parts)
end

return Model
