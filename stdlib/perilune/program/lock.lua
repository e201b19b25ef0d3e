-- A model written down: its fingerprint in parts, what its tokenizer makes of a text, what it answers. Held
-- against the folder later, it says on the day of a change what changed.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local fingerprint = require "perilune.loaded.fingerprint"
local probe = require "perilune.loaded.probe"
local pass_runner = require "perilune.loaded.pass_runner"

local lock = {}

local version = 1
lock.name = "perilune.lock"

--- Where a model's lock lies: in its folder, or beside its one file.
---@param m Model
---@return string
function lock.path_of(m)
  return m.path:match "%.gguf$" and m.path .. ".lock" or m.path .. "/" .. lock.name
end

local sample = "Hello world, it's a test!"

local function tokenizer_facts(tokenizer)
  if not tokenizer then return nil end
  return { kind = tokenizer.kind, vocab_size = tokenizer.vocab_size, max_id = tokenizer.max_id, specials = fingerprint.specials(tokenizer),
    model_max_length = tokenizer.model_max_length, sample = sample, ids = core.array(tokenizer:ids(sample)),
    plain_ids = core.array(tokenizer:ids(sample, { special = false })) }
end

-- Every setting as text, so that the one that changed can be named.
local function settings_of(json)
  local out = {}
  for key, value in pairs(fingerprint.settings(json)) do out[tostring(key)] = fingerprint.canonical(value) end
  return out
end

-- What computed the answers. The lock of another build or processor is compared all the same, and said.
local function engine_of(m)
  local device = pass_runner.device(m.device)
  return { version = core.version, compute = m.compute, device = m.device, tier = device and device.tier }
end

--- What a lock holds of a loaded model.
---@param m Model loaded in f32, so that machines agree
---@return table
function lock.of(m)
  local s = pass_runner.open(m, "lock")
  local parts = fingerprint.parts(s, m.tokenizer)
  local own_generation = s.generation_file == "generation_config.json"
  return { perilune_lock = version, engine = engine_of(m), config = settings_of(s.config), generation = own_generation and settings_of(s.generation) or nil,
    family = m.family, head = m.head, embedding_rows = m.vocab_size, parts = parts,
    fingerprint = fingerprint.text(s, parts), tokenizer = tokenizer_facts(m.tokenizer), probe = probe.answer(m, m.tokenizer) }
end

--- Writes a model's lock, through a temporary file.
---@param m Model
---@param path string
---@return table the lock
function lock.write(m, path)
  local made = lock.of(m)
  local file, problem = io.open(path .. ".part", "wb")
  if not file then raise("file", "lock", problem) end
  local fine = file:write(core.write_json(made), "\n")
  fine = file:close() and fine
  if fine then fine, problem = os.rename(path .. ".part", path) end
  if not fine then
    os.remove(path .. ".part")
    raise("file", "lock", path .. ": " .. tostring(problem or "it could not be written"))
  end
  return made
end

--- Reads a lock.
---@param path string
---@return table
function lock.read(path)
  if not core.file_exists(path) then raise("file", "lock", path .. " is not there", "perilune lock MODEL writes one") end
  local value = core.read_json(path)
  if type(value) ~= "table" or type(value.parts) ~= "table" or type(value.perilune_lock) ~= "number" then
    raise("format", "lock", path .. " is not a lock", "perilune lock MODEL writes one")
  end
  if value.perilune_lock ~= version then
    raise("unsupported", "lock", ("%s is a lock of version %s, this build writes %d"):format(path, tostring(value.perilune_lock), version),
      "write it again with perilune lock MODEL")
  end
  return value
end

-- ---------------------------------------------------------------- comparing

local function listed(list)
  local words = {}
  for i, value in ipairs(type(list) == "table" and list or {}) do
    if i > 12 then
      words[#words + 1] = "…"
      break
    end
    words[i] = tostring(value)
  end
  return "{" .. table.concat(words, ", ") .. "}"
end

local function same_list(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  if #a ~= #b then return false end
  for i = 1, #a do if a[i] ~= b[i] then return false end end
  return true
end

-- In plain words, what of the tokenizer is different; its digest covers more than is written down.
local function tokenizer_change(before, now)
  if not before or not now then return before and "the model has no tokenizer any more" or "the model had no tokenizer" end
  local changes = {}
  if not same_list(before.plain_ids, now.plain_ids) then
    changes[1] = ("%q was %s, is %s"):format(before.sample, listed(before.plain_ids), listed(now.plain_ids))
  elseif not same_list(before.ids, now.ids) then
    changes[1] = ("what is put in: %q was %s, is %s"):format(before.sample, listed(before.ids), listed(now.ids))
  end
  for _, role in ipairs { "bos", "eos", "pad", "unk", "cls", "sep", "mask" } do
    local old, new = (before.specials or {})[role], (now.specials or {})[role]
    if old ~= new then changes[#changes + 1] = ("%s was %s, is %s"):format(role, tostring(old or "none"), tostring(new or "none")) end
  end
  for _, key in ipairs { "kind", "vocab_size", "max_id", "model_max_length" } do
    if before[key] ~= now[key] then
      changes[#changes + 1] = ("%s was %s, is %s"):format(key, tostring(before[key] or "none"), tostring(now[key] or "none"))
    end
  end
  return #changes > 0 and table.concat(changes, "; ") or "some texts get other ids, or are decoded otherwise"
end

-- Greedy ids where they differ, unless the choice was so close that another machine may differ.
local function ids_change(before, now)
  if not before.ids or not now.ids then return nil end
  for i = 1, math.max(#before.ids, #now.ids) do
    if before.ids[i] ~= now.ids[i] then
      if ((before.margins or {})[i] or 0) < 0.01 then return nil end
      return ("it continued %s, now %s"):format(listed(before.ids), listed(now.ids))
    end
  end
end

-- Numbers that are not finite are written as words and must be the same words.
local function values_change(before, now)
  for name, list in pairs(before.values or {}) do
    local others, largest, furthest = (now.values or {})[name] or {}, 1, 0
    if #list ~= #others then return name .. " has another size" end
    for i, value in ipairs(list) do
      if type(value) == "number" and type(others[i]) == "number" then
        largest, furthest = math.max(largest, math.abs(value)), math.max(furthest, math.abs(value - others[i]))
      elseif value ~= others[i] then
        return ("%s hold %s, held %s"):format(name, tostring(others[i]), tostring(value))
      end
    end
    if furthest > 2e-3 * largest then return ("%s differ by up to %.3g"):format(name, furthest) end
  end
end

local function settings_change(file, before, now)
  local keys, words = {}, {}
  for key, value in pairs(before or {}) do if (now or {})[key] ~= value then keys[key] = true end end
  for key, value in pairs(now or {}) do if (before or {})[key] ~= value then keys[key] = true end end
  for key in pairs(keys) do
    local old, new = tostring((before or {})[key] or "not there"), tostring((now or {})[key] or "not there")
    local short = #old < 40 and #new < 40
    words[#words + 1] = short and ("%s was %s, is %s"):format(key, (old:gsub("^%l+:%d*:?", "")), (new:gsub("^%l+:%d*:?", ""))) or key .. " changed"
  end
  table.sort(words)
  return file .. ": " .. (#words > 0 and table.concat(words, "; ") or "it changed")
end

local said = { weights = "weights: other values, names or shapes are stored", template = "chat template: its source changed" }

--- What of the engine is other than when the lock was written, a sentence each. The answers are held against
--- each other with room for it.
---@param before table a lock
---@param m Model
---@return string[] notes
function lock.engine_notes(before, m)
  local old, now, notes = before.engine or {}, engine_of(m), {}
  for _, key in ipairs { "version", "compute", "device", "tier" } do
    if old[key] ~= now[key] then
      notes[#notes + 1] = ("the lock was written with %s %s, this is %s"):format(key, tostring(old[key] or "unknown"), tostring(now[key]))
    end
  end
  return notes
end

--- What differs between a lock and a model, a sentence each; none when nothing does.
---@param before table a lock
---@param m Model loaded in f32
---@return string[] changes
function lock.compare(before, m)
  local now, changes = lock.of(m), {}
  for _, key in ipairs { "family", "head", "embedding_rows" } do
    if before[key] ~= now[key] then
      changes[#changes + 1] = ("%s: was %s, is %s"):format(key:gsub("_", " "), tostring(before[key]), tostring(now[key]))
    end
  end
  for _, part in ipairs { "weights", "config", "generation", "template" } do
    if before.parts[part] ~= now.parts[part] then
      local file = part == "config" and "config.json" or "generation_config.json"
      changes[#changes + 1] = said[part] or settings_change(file, before[part], now[part])
    end
  end
  if before.parts.tokenizer ~= now.parts.tokenizer then
    changes[#changes + 1] = "tokenizer behaviour: " .. tokenizer_change(before.tokenizer, now.tokenizer)
  end
  local answer = ids_change(before.probe or {}, now.probe) or values_change(before.probe or {}, now.probe)
  if answer then changes[#changes + 1] = "the probe's answer: " .. answer end
  return changes
end

return lock
