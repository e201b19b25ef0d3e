-- Perilune: require "perilune". The table holds exactly the public names; what a name needs is
-- loaded when it is first read.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local family = require "perilune.loaded.family"

local pl = {}

-- Public name → the module that defines it, or "core" for the engine's own functions.
local where = {
  load = "perilune.load", advise = "perilune.advise", estimate = "perilune.load", devices = "perilune.load", health = "perilune.load",
  tokenizer = "perilune.load", check = "perilune.loaded.tokenizer_check", families = "perilune.loaded.family",
  rope_options = "perilune.families.rope", engine = "perilune.serve.engine", grammar = "perilune.serve.grammar", simulate = "perilune.serve.simulate",
  cache_load = "perilune.loaded.cache_file", pipeline = "perilune.pipeline", lengths = "perilune.serve.lengths", collate = "perilune.run.batch",
  once = "perilune.reload", reload = "perilune.reload", show = "perilune.show.show", diff = "perilune.inside.diff", sleep = "core",
  version = "core",
  image = "perilune.run.image_file", resize_image = "perilune.run.image_file",
  clock = "core", on_warning = "core", batch = "core", batch_from_padded = "core",
  tensor = "core", zeros = "core", ones = "core", arange = "core", random = "core", cat = "core", stack = "core",
  clamp_to_shortest = "core", pad = "core",
}

--- Registers a family of models: a table that turns a config.json into hyper-parameters and writes
--- down the passes. The same name again replaces it.
---
---     pl.family {
---       name = "heron", model_types = { "heron" }, architectures = { HeronModel = "base" }, embedding = "embed", keys = { "width" },
---       config = function(json) return json end,
---       decode = function(net, batch) return net:embedding(batch.ids, "embed") end,
---       heads = { base = function(_, x) return { last_hidden_state = x } end },
---     }
---     local known = {}
---     for _, family in ipairs(pl.families()) do known[family.name] = true end
---     print(known.heron)                                                    --> true
---@param t table
---@return table t
function pl.family(t) return family.register(t) end

--- Calls a function and gives back what it returns, or nil and the error.
---
---     local value, err = pl.try(pl.load, "no/such/folder")
---     print(value, err.code)                                                --> nil	file
---@param f function
---@param ... any its arguments
---@return any
---@return any err
function pl.try(f, ...)
  local function pack(fine, first, ...)
    if fine then return first, ... end
    return nil, first == "not enough memory" and core.out_of_memory or first   -- what Lua itself raises
  end
  return pack(pcall(f, ...))
end

--- Opens a safetensors or GGUF file: its names, and each tensor when it is asked for.
---
---     local file = pl.open "tests/golden/gpt2-plain/model.safetensors"
---     print(file.has(file.names[1]), file.tensor(file.names[1]).dtype)      --> true	f32
---@param path string or the name of a known model that is one file
---@return table file file[name] → Tensor; { names=, tensors=, tensor=function(name), info=function(name), has=function(name), metadata= }
function pl.open(path)
  if type(path) == "string" then path = require("perilune.loaded.catalogue").path(path, "open") end
  local file = core.open_tensors(path)
  -- As functions of the name: file.tensor "x"; called as methods they do the same.
  local function reader(method)
    return function(first, second)
      local name = second
      if name == nil then name = first end
      return file[method](file, name)
    end
  end
  local function field(t, name)
    if name ~= "tensors" then return file:tensor(name) end
    local all = {}
    for _, one in ipairs(file.names) do all[one] = file:tensor(one) end
    rawset(t, name, all)
    return all
  end
  return setmetatable({ names = file.names, metadata = file.metadata, tensor = reader "tensor", info = reader "info", has = reader "has" },
    { __index = field })
end

--- Writes tensors to a safetensors file, through a temporary one: a failure leaves the old file.
---
---     local path = os.tmpname()
---     pl.save(path, { a = pl.ones({ 2, 3 }, { axes = { "batch", "hidden" } }) })
---     print(pl.open(path).a.shape)                                          --> [batch=2, hidden=3]
---     os.remove(path)
---@param path string
---@param tensors table<string, Tensor>
function pl.save(path, tensors) return core.save_tensors(path, tensors) end

-- Keeps a tensor, or all tensors of a table.
local function keep_all(value, seen)
  if type(value) == "userdata" then
    core.keep(value)
  elseif type(value) == "table" and not seen[value] then
    seen[value] = true
    for _, entry in next, value do keep_all(entry, seen) end
  end
end

--- Frees every tensor made inside `f`, except those it returns (in tables as well) and those given to
--- pl.keep.
---
---     local sum = pl.scope(function() return pl.ones({ 1000 }, { axes = { "n" } }):sum "n" end)   -- the ones are freed
---     print(sum:item())                                                     --> 1000
---@param f function
---@param ... any its arguments
---@return any what f returns
function pl.scope(f, ...)
  if type(f) ~= "function" then raise("argument", "scope", "expected a function, got " .. options.show(f)) end
  core.scope_begin()
  local function leave(fine, ...)
    if fine then
      local seen = {}
      for i = 1, select("#", ...) do keep_all((select(i, ...)), seen) end
    end
    core.scope_end()
    if not fine then error((...), 0) end
    return ...
  end
  return leave(pcall(f, ...))
end

--- Elements of `a` where the mask is true, of `b` elsewhere.
---
---     local t = pl.tensor({ 1, -2, 3 }, { axes = { "n" } })
---     print(table.concat(pl.where(t:gt(0), t, 0):tolist(), " "))            --> 1 0 3
---@param mask Tensor bool
---@param a Tensor|number
---@param b Tensor|number
---@return Tensor
function pl.where(mask, a, b)
  if kind.of(mask) ~= "Tensor" then raise("argument", "where", "mask: expected a Tensor, got " .. options.show(mask)) end
  local chosen = mask:where(a, b)
  return chosen
end

--- Keeps a tensor beyond the scope it was made in.
---
---     local m = pl.load "scripts/models/tales"
---     local kept
---     pl.scope(function() kept = pl.keep(pl.ones({ 2 }, { axes = { "x" } })) end)
---     print(kept:sum())                                                     --> 2
---@param t Tensor
---@return Tensor t
function pl.keep(t)
  core.keep(t)
  return t
end

-- Tables of functions → the module that is the table.
local tables = { policy = "perilune.policy", json = "perilune.json", files = "perilune.files", async = "perilune.serve.async",
  sound = "perilune.run.sound" }

-- What calls answer (results, entries of the queue, …) prints as pl.show has it.
core.answer_metatable.__tostring = function(t) return require("perilune.show.show").show(t, { depth = 2 }) end

pl.policy = require(tables.policy)
require "perilune.show.inspect"
-- Most scripts need neither: loaded when first called.
core.extend("Tokenizer", {
  chat = function(...) return require("perilune.chat.template").chat(...) end,
  stage = function(...) return require("perilune.pipelines.stage").tokenizer(...) end,
})

local own = { "family", "try", "open", "save", "scope", "keep", "where" }

--- All public names, sorted.
---@return string[]
local function names()
  local list = {}
  for _, name in ipairs(own) do list[#list + 1] = name end
  for name in pairs(where) do list[#list + 1] = name end
  for name in pairs(tables) do list[#list + 1] = name end
  table.sort(list)
  return list
end

return setmetatable(pl, {
  __index = function(t, name)
    if tables[name] then
      rawset(t, name, require(tables[name]))
      return t[name]
    end
    local module = where[name]
    if not module then
      if name == nil then return nil end
      local near = type(name) == "string" and core.nearest(name, names())
      return raise("argument", "perilune", ("there is no pl.%s"):format(tostring(name)),
        near and ("did you mean pl." .. near .. "?") or options.unknown(name, names(), "names", "pl"))
    end
    local value = module == "core" and core[name] or module ~= "core" and require(module)[name]
    rawset(t, name, value)
    return value
  end,
  __tostring = function() return "perilune: " .. table.concat(names(), ", ") end,
  names = names,   -- for completion
  where = where,   -- for the reference
  tables = tables,
})
