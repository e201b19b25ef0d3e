-- m:cache: keys and values that calls of forward share, so that what was computed stays computed.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local ranks = require "perilune.loaded.ranks"
local core = require "perilune.core"
local kind = require "perilune.base.kind"

local cache = {}

---@class Cache
---@field length integer positions of the longest row
---@field lengths integer[] positions of every row
local Cache = { __name = "Cache" }

-- Ids that a cache's rows were made of; false where they are not known. The last id of an answer is there
-- before its keys and values are.
local function texts_of(c)
  local texts = rawget(c, "texts_") or {}
  rawset(c, "texts_", texts)
  return texts
end

-- A text may be longer than unpack can give.
local function copy(list)
  local out = {}
  for i, value in ipairs(list) do out[i] = value end
  return out
end

-- Takes in what a request that went on from the cache has made of it.
local function settle(c, op)
  local line = rawget(c, "line_")
  if not line then return end
  if line.state ~= "done" then
    if not op then return end
    raise("state", op, "a request that has not ended is using this cache", "wait for its result, or make a copy before it: cache:fork()")
  end
  rawset(c, "line_", nil)
  local ids, sequence = core.continued(line)
  if sequence then rawget(c, "sequences_")[1], texts_of(c)[1] = sequence, ids end
end

local function adapter_of(c, i) return (rawget(c, "adapters_") or {})[i] or 0 end

-- Keys that one adapter made are none of another's: a row belongs to the adapter that filled it until it is empty.
local function claim(c, i, number, op)
  local made_by = rawget(c, "adapters_") or {}
  rawset(c, "adapters_", made_by)
  local held = math.max(rawget(c, "sequences_")[i].length, #(texts_of(c)[i] or {}))
  if held > 0 and (made_by[i] or 0) ~= number then
    local function name(n) return n == 0 and "no adapter" or "adapter " .. rawget(c, "state_").adapters[n].name end
    raise("option", op, ("option cache: row %d was filled with %s, this call has %s"):format(i, name(made_by[i] or 0), name(number)),
      "keys and values depend on the adapter: give the same one, or begin with an empty cache")
  end
  made_by[i] = number
end

local function length_of(c, i)
  return math.max(rawget(c, "sequences_")[i].length, #(texts_of(c)[i] or {}))
end

function Cache.__index(c, key)
  if Cache[key] ~= nil and not tostring(key):find "^__" then return Cache[key] end
  if key == "lengths" or key == "length" then
    settle(c)
    local lengths, longest = {}, 0
    for i in ipairs(rawget(c, "sequences_")) do
      lengths[i] = length_of(c, i)
      longest = math.max(longest, lengths[i])
    end
    return key == "lengths" and lengths or longest
  end
  return raise("argument", "cache", "a Cache has no field or method " .. options.show(key),
    options.unknown(key, { "length", "lengths", "fork", "crop", "bytes", "save" }, "names", "Cache"))
end

--- An empty cache for `m:forward(ids, { cache = c })`, which continues where it ends.
---@param m Model
---@param opts table|nil { rows=1 }
---@return Cache
function cache.new(m, opts)
  local s = pass_runner.open(m, "cache")
  local o = options.check(opts, { rows = "positive" }, "cache")
  local pool = pass_runner.pool(s)
  if not pool or s.family.encode then
    raise("unsupported", "cache", ("family %s keeps no keys and values of its own between calls"):format(m.family))
  end
  local sequences, most = {}, math.floor(pool.budget / pool:bytes_for(1))
  if o.rows and o.rows > most then
    raise("memory", "cache", ("option rows: %d rows of keys and values take %.0f bytes and more, the cache has %.0f"):format(o.rows,
      o.rows * pool:bytes_for(1), pool.budget), ("at most %d rows fit"):format(most))
  end
  for i = 1, o.rows or 1 do sequences[i] = pool:sequence() end
  return setmetatable({ sequences_ = sequences, state_ = s }, Cache)
end

--- Another cache with the same content; pages are shared until one of them is written. `rows`: of these rows, in
--- this order, each as often as it is named.
---
---     local m = pl.load "scripts/models/tales"
---     local cache = m:cache()
---     m:forward({ { 1, 5, 9 } }, { cache = cache })
---     local other = cache:fork()
---     m:forward({ { 7 } }, { cache = other })
---     print(cache, other)   --> Cache 1 rows, 3 positions, 196608 bytes	Cache 1 rows, 4 positions
---     print(#cache:fork({ 1, 1, 1 }).lengths)   --> 3
---@param rows integer[]|nil default: all of them
---@return Cache
function Cache:fork(rows)
  pass_runner.expect(self, "Cache", "fork")
  settle(self, "fork")
  local held, sequences, texts, made_by = rawget(self, "sequences_"), {}, {}, {}
  if rows == nil then
    rows = {}
    for i in ipairs(held) do rows[i] = i end
  elseif not kind.is_list(rows) or #rows == 0 then
    raise("argument", "fork", "rows: expected a list of row numbers, got " .. options.show(rows))
  end
  for i, row in ipairs(rows) do
    if not held[row] then
      raise("argument", "fork", ("rows: expected numbers from 1 to %d, got %s"):format(#held, options.show(row)))
    end
    sequences[i] = held[row]:fork()
    local ids = texts_of(self)[row]
    texts[i], made_by[i] = ids and copy(ids), adapter_of(self, row)
  end
  return setmetatable({ sequences_ = sequences, state_ = rawget(self, "state_"), texts_ = texts, adapters_ = made_by }, Cache)
end

--- Keeps the first n positions of every row. A sliding-window model gives back what left its window: there, n is
--- 0 or lies in the last 16 positions (where the window is not full yet, anywhere), else it raises.
---
---     local m = pl.load "scripts/models/tales"
---     local cache = m:cache()
---     m:forward({ { 1, 5, 9 } }, { cache = cache })
---     print(cache:crop(2) == cache)                                         --> true
---@param n integer
---@return Cache self
function Cache:crop(n)
  pass_runner.expect(self, "Cache", "crop")
  if type(n) ~= "number" or n % 1 ~= 0 or n < 0 then
    raise("argument", "crop", "n: expected a whole number, 0 or more, got " .. options.show(n))
  end
  settle(self, "crop")
  local sequences, texts = rawget(self, "sequences_"), texts_of(self)
  for row, sequence in ipairs(sequences) do
    if sequence.length > n and not sequence:can_crop(n) then
      raise("state", "crop", ("row %d: position %d of %d lies before what its sliding window kept"):format(row, n, sequence.length),
        "fork the cache at that position before it goes on, or crop to 0 and compute again")
    end
  end
  for row, sequence in ipairs(sequences) do
    if sequence.length > n then sequence:crop(n) end
    for i = #(texts[row] or {}), n + 1, -1 do texts[row][i] = nil end
  end
  return self
end

--- Writes keys and values to a file, for pl.cache_load with the same model, on whatever devices it is then.
---
---     local m = pl.load "scripts/models/tales"
---     local cache, path = m:cache(), os.tmpname()
---     m:forward({ { 1, 5, 9 } }, { cache = cache })
---     cache:save(path)
---     print(pl.cache_load(path, m))                                         --> Cache 1 rows, 3 positions, 196608 bytes
---     pl.files.remove(path)
---@param path string
function Cache:save(path)
  pass_runner.expect(self, "Cache", "save")
  local s, lengths, made_for, tensors = rawget(self, "state_"), {}, {}, {}
  if s.closed then raise("state", "save", "the model was closed: " .. s.path) end
  ranks.refuse(s, "save", "every rank holds a part of its keys")
  settle(self, "save")
  local texts, made_by = {}, {}
  for i, sequence in ipairs(rawget(self, "sequences_")) do
    local number = adapter_of(self, i)
    made_by[i] = number > 0 and s.adapters[number].name or ""
    texts[i] = table.concat(texts_of(self)[i] or {}, " ")
    lengths[i], made_for[i] = tostring(sequence.length), tostring(sequence.made_for)
    for slot, name in ipairs(sequence:slots()) do tensors[("rows.%d.%s"):format(i, name)] = sequence:pages(slot) end
  end
  core.save_tensors(path, tensors, { lengths = table.concat(lengths, " "), made_for = table.concat(made_for, " "), texts = table.concat(texts, ","),
    cache = s.cache_dtype, compute = s.compute, outliers = s.outliers and tostring(s.outliers),
    model = s.checkpoint:fingerprint(), adapters = table.concat(made_by, ",") })
end

--- Bytes of its pages.
---
---     local m = pl.load "scripts/models/tales"
---     local cache = m:cache()
---     m:forward({ { 1, 5, 9 } }, { cache = cache })
---     print(cache:bytes())                                                  --> 196608
---@return integer
function Cache:bytes()
  pass_runner.expect(self, "Cache", "bytes")
  local sum = 0
  for _, sequence in ipairs(rawget(self, "sequences_")) do sum = sum + sequence:bytes() end
  return sum
end

--- A cache of these sequences of a model's pool.
---@param sequences userdata[]
---@param s table the model's state
---@param texts table their ids, false where they are not known
---@param made_by integer[] numbers of the adapters that filled them
---@return Cache
function cache.of(sequences, s, texts, made_by)
  return setmetatable({ sequences_ = sequences, state_ = s, texts_ = texts, adapters_ = made_by }, Cache)
end

function Cache.__tostring(c)
  return ("Cache %d rows, %s positions, %d bytes"):format(#rawget(c, "sequences_"), table.concat(c.lengths, " + "), c:bytes())
end

local function check(c, s, op)
  if type(c) ~= "table" or getmetatable(c) ~= Cache then
    raise("option", op, "option cache: expected what m:cache gave, got " .. options.show(c))
  end
  if rawget(c, "state_") ~= s then raise("option", op, "option cache: it belongs to another model") end
  settle(c, op)
end

--- The ids of a prompt that goes on from a cache of one row: what it holds, then `ids`; of a whole text
--- (`whole`) the cache keeps what both begin with.
---@param c any
---@param s table the model's state
---@param ids integer[]
---@param whole boolean|nil
---@param adapter integer
---@param op string
---@return integer[]
function cache.prompt(c, s, ids, whole, adapter, op)
  check(c, s, op)
  local sequences, texts = rawget(c, "sequences_"), texts_of(c)
  if #sequences ~= 1 then raise("option", op, ("option cache: it has %d rows, a prompt is one"):format(#sequences)) end
  local sequence, held = sequences[1], texts[1] or {}
  if sequence.length > #held then
    raise("option", op, "option cache: the ids that it was filled with are not known", "fill it by m:forward with ids, or by m:generate")
  end
  if whole then
    local same = 0
    while same < #held and same < #ids - 1 and held[same + 1] == ids[same + 1] do same = same + 1 end
    if sequence.length > same and not sequence:can_crop(same) then same = 0 end
    c:crop(same)
    claim(c, 1, adapter, op)
    return ids
  end
  claim(c, 1, adapter, op)
  local all = copy(held)
  for _, id in ipairs(ids) do all[#all + 1] = id end
  return all
end

--- The cache's one row belongs to a request until that has ended.
---@param c Cache
---@param line userdata|nil the request; nil: the row itself, for core
---@return userdata
function cache.lend(c, line)
  if line then rawset(c, "line_", line) end
  return rawget(c, "sequences_")[1]
end

--- The sequences of a cache given to forward, checked against model and batch.
---@param c any
---@param s table the model's state
---@param batch userdata
---@param numbers integer[] of the rows' adapters, or one for all
---@return userdata[]
function cache.sequences(c, s, batch, numbers)
  check(c, s, "forward")
  local sequences = rawget(c, "sequences_")
  if #sequences ~= batch.size then
    raise("option", "forward", ("option cache: it has %d rows, the input has %d"):format(#sequences, batch.size))
  end
  local most = s.c.max_tokens
  for i, length in ipairs(batch.lengths) do
    if most and length_of(c, i) + length > most then
      raise("length", "forward", ("row %d: %d positions in the cache and %d tokens, the model has %d positions")
        :format(i, length_of(c, i), length, most), "crop the cache: cache:crop(n)")
    end
  end
  for i = 1, #sequences do claim(c, i, numbers[i] or numbers[1], "forward") end
  return sequences
end

local function program_of(s, batch) return pass_runner.program(s, pass_runner.entry_for(s, batch)) end

--- Makes the keys of rows again whose text grows to where the model's rotary positions are others.
---@param c Cache
---@param m table
---@param batch userdata what is to follow
function cache.renew(c, m, batch)
  local s = rawget(c, "state_")
  for i, sequence in ipairs(rawget(c, "sequences_")) do   -- an answer's last id has no keys yet
    local text = texts_of(c)[i] or {}
    if #text > sequence.length then
      pass_runner.run(m, { batch = core.batch { { unpack(text, sequence.length + 1) } }, rows = "none", caches = { sequence },
        adapters = { adapter_of(c, i) } })
    end
  end
  local program = program_of(s, batch)
  if not program:depends_on_length() then return end
  local texts, again, sequences, lengths, numbers = texts_of(c), {}, {}, {}, {}
  for i, sequence in ipairs(rawget(c, "sequences_")) do
    local held, whole = sequence.length, sequence.length + batch.lengths[i]
    if held > 0 and not program:same_keys(sequence.made_for, whole) then
      if #(texts[i] or {}) < held then
        raise("state", "forward", ("row %d: its keys are those of a text of %d tokens, a text of %d has others"):format(i,
          sequence.made_for, whole), "begin again with an empty cache and the whole text")
      end
      again[#again + 1], sequences[#sequences + 1], lengths[#lengths + 1] = { unpack(texts[i], 1, held) }, sequence, whole
      numbers[#again] = adapter_of(c, i)
    end
  end
  if #again == 0 then return end
  for _, sequence in ipairs(sequences) do sequence:clear() end
  pass_runner.run(m, { batch = core.batch(again), rows = "none", caches = sequences, lengths = lengths, adapters = numbers })
end

--- Notes what was added to the rows of a cache.
---@param c Cache
---@param batch userdata
function cache.note(c, batch)
  local texts, sequences = texts_of(c), rawget(c, "sequences_")
  for i, row in batch:rows() do
    local before = sequences[i].length - batch.lengths[i]
    local text = texts[i] or {}
    if row.ids and #text == before then
      for _, id in ipairs(row.ids) do text[#text + 1] = id end
      texts[i] = text
    else
      texts[i] = false
    end
  end
end

return cache
