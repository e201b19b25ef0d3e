-- pl.cache_load: keys and values from a file that c:save wrote.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local kind = require "perilune.base.kind"
local caches = require "perilune.loaded.cache"
local adapters = require "perilune.loaded.adapters"
local ranks = require "perilune.loaded.ranks"

local cache_file = {}

--- Reads what c:save wrote. Only the model that made it, with the same compute and cache types, can go on from it; its
--- devices may be others.
---
---     local m = pl.load "scripts/models/tales"
---     local path, cache = os.tmpname(), m:cache()
---     m:forward({ 1, 5, 6 }, { cache = cache })
---     cache:save(path)
---     print(pl.cache_load(path, m).length)                                  --> 3
---     os.remove(path)
---@param path string
---@param m Model
---@return Cache
function cache_file.cache_load(path, m)
  if kind.of(m) ~= "Model" then raise("argument", "cache_load", "expected a path and a model, got " .. options.show(m)) end
  local s = pass_runner.open(m, "cache_load")
  ranks.refuse(s, "cache_load", "every rank holds a part of its keys")
  local file = core.open_tensors(path)
  local about = file.metadata
  if not about.lengths or not about.model then raise("format", "cache_load", tostring(path) .. " is no file of a cache") end
  if about.model ~= s.checkpoint:fingerprint() then
    raise("argument", "cache_load", path .. " was made by another model than " .. s.path)
  end
  local outliers = s.outliers and tostring(s.outliers)
  if about.cache ~= s.cache_dtype or about.compute ~= s.compute or about.outliers ~= outliers then
    local function way(cache, compute, apart)
      return ("cache=%s and compute=%s%s"):format(tostring(cache), tostring(compute), apart and ", outliers=" .. apart or "")
    end
    raise("argument", "cache_load", ("%s holds %s, the model has %s")
      :format(path, way(about.cache, about.compute, about.outliers), way(s.cache_dtype, s.compute, outliers)), "load the model in the same way")
  end
  local pool, sequences, texts, made_by = pass_runner.pool(s), {}, {}, {}
  local names = ((about.adapters or "") .. ","):gmatch "([^,]*),"
  local stored = ((about.texts or "") .. ","):gmatch "([^,]*),"
  local made_for = (about.made_for or about.lengths):gmatch "%d+"
  for length in about.lengths:gmatch "%d+" do
    local sequence, pages = pool:sequence(), {}
    sequences[#sequences + 1] = sequence
    for slot, name in ipairs(sequence:slots()) do
      local tensor = ("rows.%d.%s"):format(#sequences, name)
      if not file:has(tensor) then raise("format", "cache_load", ("%s has no keys and values of %s"):format(path, name)) end
      pages[slot] = file:tensor(tensor)
    end
    sequence:restore(tonumber(length), pages, tonumber(made_for()))
    local ids = {}
    for id in (stored() or ""):gmatch "%d+" do ids[#ids + 1] = tonumber(id) end
    texts[#sequences] = #ids >= sequence.length and ids or false
    local name = names() or ""
    made_by[#sequences] = adapters.number(s, name ~= "" and name, "cache_load")
    if #ids >= sequence.length and s.family.decode then sequence:publish(pass_runner.plan(s, "decode"), ids, made_by[#sequences]) end
  end
  return caches.of(sequences, s, texts, made_by)
end

return cache_file
