-- Adapters beside a model's weights: folders that peft writes (LoRA), read while the model is loaded.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"

local adapters = {}

-- How A and B begin, where that leaves the base's weights as they are.
local harmless_start = { ["true"] = true, ["false"] = true, gaussian = true, eva = true, orthogonal = true, ["nil"] = true }

-- What changes the mathematics and is not run: key → why, where it says something.
local not_run = {
  use_dora = "DoRA scales whole rows of the merged weight", use_qalora = "QALoRA pools its inputs",
  layer_replication = "it repeats layers of the base", target_parameters = "it changes parameters that are no layers",
  trainable_token_indices = "it changes rows of the embedding", alora_invocation_tokens = "aLoRA begins in the middle of a text",
  arrow_config = "Arrow chooses among adapters by itself", use_bdlora = "its A and B are blocks", kasa_config = "KaSA is another method",
  monteclora_config = "it draws at random", velora_config = "VeLoRA is another method",
}

local function is_off(value) return value == nil or value == false or type(value) == "table" and next(value) == nil end

local function read_config(folder)
  local path = folder .. "/adapter_config.json"
  if not core.file_exists(path) then
    raise("file", "load", "no adapter_config.json in " .. folder, "an adapter is a folder that peft's save_pretrained wrote")
  end
  local config = core.json(core.read_file(path, 2 ^ 20), path)
  if type(config) ~= "table" then raise("format", "load", path .. " must hold a JSON object") end
  local function refuse(text) raise("unsupported", "load", path .. ": " .. text) end
  if config.peft_type ~= "LORA" then refuse(("peft_type %s is not run, only LORA"):format(options.show(config.peft_type))) end
  for key, why in pairs(not_run) do
    if not is_off(config[key]) then refuse(("%s is not run: %s"):format(key, why)) end
  end
  if not harmless_start[tostring(config.init_lora_weights)] then
    refuse(("init_lora_weights=%s changes the base's weights when it begins"):format(options.show(config.init_lora_weights)) ..
      "; peft can save it as a plain LoRA (path_initial_model_for_weight_conversion)")
  end
  return config, path
end

-- The one of a pattern's values whose key fits a module as published: re.match(r"(.*\.)?(key)$").
local function by_pattern(patterns, module, default)
  for _, key in ipairs(names_of(patterns or {})) do
    local text = key:gsub("^%^", ""):gsub("%$$", "")
    if core.grammar({ kind = "regex", text = ([[(.*\.)?(%s)]]):format(text) }):accepts(module) then return patterns[key] end
  end
  return default
end

local function scale_of(config, module, rank, path)
  local alpha, r = by_pattern(config.alpha_pattern, module, config.lora_alpha), by_pattern(config.rank_pattern, module, config.r)
  if type(alpha) ~= "number" or type(r) ~= "number" then raise("format", "load", path .. ": lora_alpha and r must be numbers") end
  if r ~= rank then
    raise("format", "load", ("%s: %s has rank %d, the configuration says %d"):format(path, module, rank, r), "r and rank_pattern say it")
  end
  return alpha / (config.use_rslora and math.sqrt(r) or r)
end

-- What the end of a key says of its module; keys of older versions name the adapter.
local endings = {
  { "^(.*)%.lora_embedding_A$", "rows" }, { "^(.*)%.lora_embedding_B$", "up" },
  { "^(.*)%.lora_embedding_A%.[^.]+$", "rows" }, { "^(.*)%.lora_embedding_B%.[^.]+$", "up" },
  { "^(.*)%.lora_A%.weight$", "down" }, { "^(.*)%.lora_B%.weight$", "up" }, { "^(.*)%.lora_B%.bias$", "up_bias" },
  { "^(.*)%.lora_A%.[^.]+%.weight$", "down" }, { "^(.*)%.lora_B%.[^.]+%.weight$", "up" }, { "^(.*)%.lora_B%.[^.]+%.bias$", "up_bias" },
  { "^(.*)%.modules_to_save%.weight$", "whole" }, { "^(.*)%.modules_to_save%.bias$", "bias" },
  { "^(.*)%.modules_to_save%.[^.]+%.weight$", "whole" }, { "^(.*)%.modules_to_save%.[^.]+%.bias$", "bias" },
  { "^(.*)%.base_layer%.weight$", "base" }, { "^(.*)%.base_layer%.bias$", "bias" },
  { "^(.*)%.original_module%..*$", "ignored" },
  { "^(.*)%.weight$", "whole" }, { "^(.*)%.bias$", "bias" },
}
local refused = { { "%.lora_magnitude_vector", "is of DoRA" },
  { "token_adapter", "changes rows of an embedding" }, { "%.lora_[AB]$", "is no layer's" } }

local function what_of(key, path)
  for _, pair in ipairs(refused) do
    if key:find(pair[1]) then raise("unsupported", "load", ('%s: "%s" %s, which is not run'):format(path, key, pair[2])) end
  end
  local own = key:gsub("^base_model%.model%.", ""):gsub("^base_model%.", "")
  for _, pair in ipairs(endings) do
    local module = own:match(pair[1])
    if module then return module, pair[2] end
  end
  return raise("unsupported", "load", ('%s: "%s" is no part of a LoRA that is known'):format(path, key))
end

-- Whether a tensor that an adapter stores of its base is the base's own, by its name in the base.
local function same_as_base(s, file, key, name)
  for _, prefix in ipairs(s.family.prefixes or {}) do
    if name:sub(1, #prefix) == prefix and not s.checkpoint:sizes(name) then name = name:sub(#prefix + 1) end
  end
  local sizes = s.checkpoint:sizes(name)
  if not sizes then return false end
  local axes = {}
  for i = 1, #sizes do axes[i] = "axis" .. i end
  local fine, stored = pcall(file.tensor, file, key, axes)
  if not fine then return false end   -- of another rank
  local base = s.checkpoint:copy(name, axes)
  for i, axis in ipairs(stored.shape) do if axis.size ~= sizes[i] then return false end end
  return stored:to("f32"):equal(base)
end

-- What the file holds, a record for each module, in the order of their names.
local function modules_of(s, config, path)
  local file, found = core.open_tensors(path), {}
  for _, key in ipairs(file.names) do
    local module, what = what_of(key, path)
    if what ~= "ignored" then
      found[module] = found[module] or { module = module }
      if found[module][what] then raise("format", "load", ('%s: "%s" is there twice'):format(path, module)) end
      found[module][what] = key
    end
  end
  local list = {}
  for _, module in ipairs(names_of(found)) do
    local one = found[module]
    one.down, one.embedding, one.rows = one.down or one.rows, one.rows ~= nil, nil   -- A of an embedding: [rank, ids]
    if one.whole and not one.down and not one.bias and same_as_base(s, file, one.whole, module .. ".weight") then one.whole = nil end
    if (one.down == nil) ~= (one.up == nil) then
      raise("format", "load", ('%s: "%s" has one of lora_A and lora_B'):format(path, module))
    end
    if one.base and same_as_base(s, file, one.base, module .. ".weight") then one.base = nil end
    if one.base then
      raise("unsupported", "load", ('%s: "%s" brings a base weight of its own, which is not run'):format(path, module),
        "list the module in modules_to_save")
    end
    if one.down then one.scale = scale_of(config, module, file:tensor(one.down, { "rank", "input" }).shape.rank, path) end
    local only_bias = one.bias and not one.down and not one.whole
    local idle = only_bias and same_as_base(s, file, one.bias, module .. ".bias")
    if (one.down or one.whole or one.bias) and not idle then list[#list + 1] = one end
  end
  return list
end

-- Name → folder, in order: of a list the folders' own names.
local function named_folders(given)
  local list, known = {}, {}
  local function add(name, folder)
    if type(folder) ~= "string" or folder == "" then raise("option", "load", "option adapters: expected folders, got " .. options.show(folder)) end
    if known[name] then raise("option", "load", ("option adapters: two are called %s"):format(name), "name them: { name = folder, … }") end
    known[name] = true
    list[#list + 1] = { name = name, path = folder }
  end
  if type(given) == "string" then given = { given } end
  for _, folder in ipairs(given) do add(tostring(folder):gsub("/+$", ""):match "[^/]*$", folder) end
  local names = {}
  for key in pairs(given) do
    if type(key) == "string" then names[#names + 1] = key
    elseif type(key) ~= "number" or key < 1 or key > #given or key % 1 ~= 0 then
      raise("option", "load", "option adapters: expected { name = folder, … } or a list of folders")
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do add(name, given[name]) end
  return list
end

--- Reads the adapters of option adapters beside a model's weights; before its passes are traced.
---@param s table state with family, c and checkpoint
---@param given string|table|nil
function adapters.read(s, given)
  s.adapters = {}
  if given == nil then return end
  local views = { prefixes = s.family.prefixes, views = s.family.weights and s.family.weights(s.c) or nil, axes = s.c.axes }
  for number, one in ipairs(named_folders(given)) do
    local config = read_config(one.path)
    local path = one.path .. "/adapter_model.safetensors"
    if not core.file_exists(path) then
      raise("file", "load", "no adapter_model.safetensors in " .. one.path, core.file_exists(one.path .. "/adapter_model.bin")
        and "pickled files are never read: write it again with peft's save_pretrained(…, safe_serialization=True)" or nil)
    end
    local modules = modules_of(s, config, path)
    if #modules == 0 then raise("format", "load", path .. " changes nothing") end
    s.adapters[number] = { name = one.name, path = one.path, rank = config.r, modules = s.checkpoint:adapt(number, path, modules, views) }
  end
end

--- Raises for a module that an adapter changes and no pass reads; after the passes were traced.
---@param s table
function adapters.check(s)
  if #s.adapters == 0 then return end
  local unread = s.checkpoint:unread_adapters()
  if #unread == 0 then return end
  raise("unsupported", "load", ('an adapter changes "%s", which no pass multiplies by'):format(unread[1]),
    "adapters act on linear layers, heads and embeddings; a head that was not chosen is none")
end

--- The number of the adapter that a call names; 0 for none.
---@param s table
---@param name string|boolean|nil false: none
---@param op string
---@return integer
function adapters.number(s, name, op)
  if name == nil or name == false then return 0 end
  local known = {}
  for number, one in ipairs(s.adapters) do
    if one.name == name then return number end
    known[number] = one.name
  end
  local hint = "pl.load(path, { adapters = { name = folder } }) reads them"
  if #known > 0 then hint = options.unknown(name, known, "adapters", op) or "adapters are " .. table.concat(known, ", ") end
  return raise("option", op, "option adapter: this model has no adapter " .. options.show(name), hint)
end

--- The same of a call for several rows: one name for all, or a list with one (or false) a row.
---@param s table
---@param given string|boolean|table|nil
---@param rows integer
---@param op string
---@return integer[]
function adapters.numbers(s, given, rows, op)
  if type(given) ~= "table" or kind.of(given) then return { adapters.number(s, given, op) } end
  if #given ~= rows then raise("option", op, ("option adapter: %d names for %d rows"):format(#given, rows), "false stands for none") end
  local list = {}
  for i, name in ipairs(given) do list[i] = adapters.number(s, name, op) end
  return list
end

--- What m.adapters gives.
---@param s table
---@return table[] list of { name=, path=, rank=, modules= (how many) }
function adapters.list(s)
  local list = {}
  for i, one in ipairs(s.adapters or {}) do list[i] = { name = one.name, path = one.path, rank = one.rank, modules = #one.modules } end
  return list
end

return adapters
