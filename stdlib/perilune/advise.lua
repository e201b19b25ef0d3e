-- pl.advise: which ways of loading a model fit, from the headers of its files and this machine alone.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local byte_count = require "perilune.base.byte_count"
local columns = require "perilune.base.columns"
local place = require "perilune.loaded.place"
local pass_runner = require "perilune.loaded.pass_runner"
local load = require "perilune.load"

local advise = {}

local usual_context = 2048     -- tokens that a way of loading is to leave room for where nobody says
local most_context = 2 ^ 20    -- looked at where the model has no limit
local step_tokens, step_rows = 512, 16   -- of the step whose workspace is counted, as pl.estimate does

-- Types of keys and values, widest first.
local caches = { "f32", "bf16", "f16", "int8" }
local cache_bits = { f32 = 32, bf16 = 16, f16 = 16, int8 = 8 }
-- What weights can be turned into while they are loaded, least lost first.
local quantized = { "int8", "int4" }

-- What f gives; nil where it is of another build or of another kind of file.
local function try(f, ...)
  local fine, value = pcall(f, ...)
  if fine then return value end
  if type(value) == "table" and not kind.no_memory(value) and value.code == "unsupported" then return nil end
  return error(value, 0)
end

-- The most tokens of one sequence that there is room for beside weights and workspace.
local function context_of(pool, room, most)
  if room < 0 then return 0 end
  if not pool or pool:bytes_for(most) <= room then return most end
  local low, high = 0, most
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if pool:bytes_for(middle) <= room then low = middle else high = middle end
  end
  return low
end

local function how_text(o)
  local words = {}
  if o.quantize then words[1] = ('quantize="%s"'):format(o.quantize) end
  words[#words + 1] = ('compute="%s"'):format(o.compute)
  if o.cache then words[#words + 1] = ('cache="%s"'):format(o.cache) end
  return table.concat(words, ", ")
end

-- One way of loading, measured. `s` is prepared for its quantize.
local function way(s, o, memory)
  place.model(s, { device = o.device, compute = o.compute, cache = o.cache })
  s.pool = nil
  local needed, pool = pass_runner.needs(s, step_tokens, step_rows), pass_runner.pool(s)
  local most = s.c.max_tokens or most_context
  local room = memory - needed.weights - needed.workspace
  local given = { quantize = o.quantize, compute = s.compute, cache = pool and s.cache_dtype or nil, device = o.device }
  return { how = how_text(given), options = given, weights = needed.weights, workspace = needed.workspace,
    cache_per_token = pool and pool.bytes_per_token or 0, context = context_of(pool, room, most) }
end

-- Types of keys and values that this build has.
local function cache_types(path, o)
  local list = {}
  for _, cache in ipairs(caches) do
    local s = cache_bits[cache] > 8 or try(load.prepare, path, { device = o.device, cache = cache }, "advise")
    if s then list[#list + 1] = cache end
    if type(s) == "table" then s.checkpoint:close() end
  end
  return list
end

-- The ways of one state: a compute mode each with the caches that are no wider than its own.
local function add_ways(list, s, o, computes, rank, memory, known)
  for _, compute in ipairs(computes) do
    local own = try(way, s, { device = o.device, quantize = o.quantize, compute = compute }, memory)
    if own then
      own.rank = rank[own.options.compute] or rank.other
      local standard = own.options.cache
      list[#list + 1] = own
      local last = cache_bits[standard] or 0
      for i, cache in ipairs(known) do
        if standard and cache_bits[cache] < last then
          local narrow = try(way, s, { device = o.device, quantize = o.quantize, compute = compute, cache = cache }, memory)
          if narrow then
            narrow.rank, last = own.rank + i / 100, cache_bits[cache]
            list[#list + 1] = narrow
          end
        end
      end
    end
  end
end

-- Those that fit first, then by what is lost of the file; of those that do not fit, the smallest first.
local function sort(list)
  for i, one in ipairs(list) do one.at = i end
  table.sort(list, function(a, b)
    if a.fits ~= b.fits then return a.fits end
    if not a.fits and a.context ~= b.context then return a.context > b.context end
    if not a.fits and a.weights ~= b.weights then return a.weights < b.weights end
    if a.rank ~= b.rank then return a.rank < b.rank end
    return a.at < b.at
  end)
  for _, one in ipairs(list) do one.rank, one.at = nil, nil end
end

local function text(list)
  local rows = { { "how", "weights", "a token's cache", "context", "fits" } }
  for i, one in ipairs(list) do
    rows[i + 1] = { one.how, byte_count.text(one.weights), byte_count.text(one.cache_per_token), one.context, one.fits and "yes" or "no" }
  end
  return ("%s, %s of memory, for %d tokens\n%s"):format(list.device, byte_count.text(list.memory), list.wanted, columns.text(rows))
end

local function read_memory(o, device)
  if o.memory == nil then return pass_runner.device(device).free or 0 end
  local bytes = byte_count.read(o.memory)
  if not bytes then
    raise("option", "advise", ("option memory: expected bytes, got %s"):format(options.show(o.memory)), 'for instance "8G"')
  end
  return bytes
end

--- Which ways of loading a model fit, best first: those that leave room for the wanted context, the least lost of the
--- file's own numbers before the rest. From the headers of its files and this machine alone; no weight is read. Prints
--- as a table. `options` of an entry is what pl.load takes for it, `context` the tokens that one sequence has room for.
--- By default the memory is what is free on the device, the wanted context the model's own, at most 2048 tokens.
---
---     local ways = pl.advise("scripts/models/tales", { memory = "64M" })
---     print(ways[1].fits, ways[1].context, ways[1].options.compute ~= nil)   --> true	512	true
---@param path string a folder, a file, or the name of a known model
---@param opts table|nil { memory= (bytes or "8G"), context= (tokens), device= }
---@return table[] ways { how=, options=, weights=, workspace=, cache_per_token= (bytes), context= (tokens), fits= }, best first
function advise.advise(path, opts)
  local o = options.check(opts, { memory = "any", context = "positive", device = "string" }, "advise")
  local s = load.prepare(path, { device = o.device }, "advise")
  local memory, most = read_memory(o, s.device), s.c.max_tokens
  if o.context and most and o.context > most then
    raise("option", "advise", ("option context: %d tokens, the model has %d positions"):format(o.context, most))
  end
  local wanted = o.context or math.min(most or usual_context, usual_context)
  local list = { device = s.device, memory = memory, wanted = wanted }
  local own, blocks = s.compute, s.checkpoint.main_blocks
  -- Its own way first; wider arithmetic loses nothing and takes more; bf16 of f32 weights rounds.
  local rank = { [own] = 0, other = 2, f32 = own == "f32" and 0 or 1 }
  local known = cache_types(path, o)
  add_ways(list, s, { device = o.device }, { "f32", "bf16", "int8" }, rank, memory, known)
  s.checkpoint:close()
  for i, to in ipairs(quantized) do
    local q = not blocks and try(load.prepare, path, { device = o.device, quantize = to }, "advise")
    if q then
      add_ways(list, q, { device = o.device, quantize = to }, { "auto" }, { other = 2 + i }, memory, known)
      q.checkpoint:close()
    end
  end
  for _, one in ipairs(list) do one.fits = one.context >= wanted end
  sort(list)
  return setmetatable(list, { __tostring = text })
end

return advise
