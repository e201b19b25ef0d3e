-- A model as a GGUF file: the family's table of GGUF names turned around.
local raise = require "perilune.base.raise"
local progress = require "perilune.base.progress"
local gguf_keys = require "perilune.loaded.gguf_keys"
local gguf_tokens = require "perilune.loaded.gguf_tokens"

local gguf_file = {}

-- Modules that a stored one is split into, by the family's views of GGUF files; itself where it is whole.
local function parts_of(module, pattern, views, number)
  local view = views[pattern]
  if not view or not view.split then return { module } end
  local root, list = view.rename and view.rename:gsub("%*", number) or module, {}
  for i, part in ipairs(view.split) do list[i] = root .. "." .. (type(part) == "table" and part[1] or part) end
  return list
end

-- How the rows of a module are laid there: rows of a head where rotary pairs lie side by side.
local function head_rows(s, module, suffix)
  for name, axis in pairs(s.family.gguf.permute or {}) do
    if module == name or module:sub(-#name - 1) == "." .. name then
      local sizes = s.checkpoint:sizes(module .. suffix)
      return sizes[1] / s.c.axes[axis]
    end
  end
  return 0
end

-- What files have of a vector less than passes.
local function added(s, module)
  for pattern, value in pairs(s.family.gguf.add or {}) do
    local lua = "^" .. pattern:gsub("[%-%.]", "%%%0"):gsub("%*", ".*") .. "$"
    if module:find(lua) then return -value end
  end
  return 0
end

local suffixes = { ".weight", ".bias" }

local function layer_count(c) return type(c.layers) == "table" and math.max(c.layers.encoder, c.layers.decoder) or c.layers end

-- One tensor of the file where the model has all of its parts; marks what it is made of.
local function add_tensor(s, list, name, module, parts, left)
  for _, suffix in ipairs(suffixes) do
    local sources, whole = {}, true
    for i, part in ipairs(parts) do
      sources[i] = part .. suffix
      whole = whole and left[part .. suffix] ~= nil
    end
    if whole then
      for _, source in ipairs(sources) do left[source] = nil end
      local norm = suffix == ".weight" and added(s, module) or 0
      list[#list + 1] = { name = name .. suffix, sources = sources, head_rows = #parts == 1 and head_rows(s, module, suffix) or 0, add = norm }
    end
  end
end

-- Tensors in the order of the file, of every weight of the model once, and what is left out.
local function tensors_of(s)
  local gguf, left, list = s.family.gguf, {}, {}
  for name, same_as in pairs(s.checkpoint:to_save()) do
    if same_as == "" then left[name] = true end
  end
  local views = gguf.views and gguf.views(s.c) or {}
  local tensors = type(gguf.tensors) == "function" and gguf.tensors(s.c) or gguf.tensors
  -- Those that are made of several first: what they are made of may stand elsewhere too, for other models.
  local names = {}
  for name in pairs(tensors) do names[#names + 1] = name end
  local function key(name) return (views[tensors[name]] and "0" or "1") .. name end
  table.sort(names, function(x, y) return key(x) < key(y) end)
  for _, name in ipairs(names) do
    local pattern = tensors[name]
    for number = 0, name:find("*", 1, true) and layer_count(s.c) - 1 or 0 do
      local module = pattern:gsub("%*", tostring(number))
      add_tensor(s, list, name:gsub("%*", tostring(number)), module, parts_of(module, pattern, views, tostring(number)), left)
    end
  end
  for _, one in ipairs(gguf_keys.extra_tensors(s)) do
    left[one.name] = nil
    list[#list + 1] = one
  end
  local all, poolers = {}, {}
  for name in pairs(left) do
    local of = name:find "^pooler%." and poolers or all
    of[#of + 1] = name
  end
  table.sort(all)
  if all[1] then
    raise("unsupported", "save", ("GGUF files of family %s have no place for %d tensors of %s: %s%s"):format(s.family.name, #all, s.path,
      all[1], all[2] and ", …" or ""), "heads other than the family's own have no published layout: save it as a folder")
  end
  return list, poolers[1] and { "the pooler is left out: GGUF has no place for it" } or {}
end

--- Writes the file, with metadata and tokenizer.
---@param s table a model's state
---@param path string
---@param o table { on_progress=, tokenizer= }
---@param op string
---@return string[] notes what the file does not hold, for people
function gguf_file.write(s, path, o, op)
  if not s.family.gguf then
    raise("unsupported", op, ("family %s has no GGUF layout here"):format(s.family.name), "save it as a folder of safetensors")
  end
  local from_gguf = s.gguf and s.path or nil
  local tensors, notes = tensors_of(s)
  local keys = gguf_keys.of(s)
  if not from_gguf then
    local own, told = gguf_tokens.of(s, o.tokenizer, op)
    for _, pair in ipairs(own) do keys[#keys + 1] = pair end
    for _, note in ipairs(told) do notes[#notes + 1] = note end
  end
  progress.during(op, o.on_progress, function(tick)
    s.checkpoint:save_gguf(path, { keys = keys, like = from_gguf, tensors = tensors }, tick)
  end)
  if not from_gguf and o.tokenizer then gguf_tokens.verify(path, o.tokenizer, op) end
  return notes
end

return gguf_file
