-- How a folder of sentence-transformers makes its vectors: modules.json, 1_Pooling/config.json,
-- sentence_bert_config.json and config_sentence_transformers.json. Every key is applied, or named in a
-- warning or an error.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local recipes = {}

-- Old spellings of the modes, in the order in which their vectors stand one after the other.
local flags = {
  { "pooling_mode_cls_token", "cls" }, { "pooling_mode_max_tokens", "max" }, { "pooling_mode_mean_tokens", "mean" },
  { "pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens" }, { "pooling_mode_weightedmean_tokens", "weightedmean" },
  { "pooling_mode_lasttoken", "lasttoken" },
}

-- Published names of the modes → ours.
local modes = { cls = "cls", max = "max", mean = "mean", mean_sqrt_len_tokens = "mean_sqrt", weightedmean = "weighted_mean", lasttoken = "last" }

local advice = "give pooling= and normalize= to go without it"

local function unsupported(file, what) return raise("unsupported", "embed", file .. ": " .. what, advice) end

-- Names the keys of a file that nothing here knows.
local function name_unknown(recipe, file, json, known)
  local unknown = {}
  for key in pairs(json) do if not known[key] then unknown[#unknown + 1] = options.show(key) end end
  table.sort(unknown)
  if #unknown > 0 then
    recipe.warnings[#recipe.warnings + 1] = ("%s: not known here, and ignored: %s"):format(file, table.concat(unknown, ", "))
  end
end

local function set_of(names)
  local set = {}
  for name in names:gmatch "%S+" do set[name] = true end
  return set
end

local function typed(json, file, key, wanted)
  local value = json[key]
  if value ~= nil and type(value) ~= wanted then raise("format", "embed", ("%s: %s: expected a %s, got %s"):format(file, key, wanted, options.show(value))) end
  return value
end

-- ---------------------------------------------------------------- 1_Pooling

local pooling_keys = set_of "word_embedding_dimension embedding_dimension pooling_mode include_prompt"
for _, flag in ipairs(flags) do pooling_keys[flag[1]] = true end

local function read_modes(json, file)
  local given = json.pooling_mode
  if given == nil then
    given = {}
    for _, flag in ipairs(flags) do
      if typed(json, file, flag[1], "boolean") then given[#given + 1] = flag[2] end
    end
    if #given == 0 then given = { "mean" } end   -- as published
  end
  local out = {}
  for i, name in ipairs(type(given) == "table" and given or { given }) do
    out[i] = modes[name] or unsupported(file, "pooling_mode " .. options.show(name) .. " is not supported")
  end
  if #out == 0 then unsupported(file, "pooling_mode names no mode") end
  return out
end

local function read_pooling(recipe, folder, path)
  local file = path .. "/config.json"
  local json = core.read_json(folder .. "/" .. file)
  for key, value in pairs(json) do
    if tostring(key):find "^pooling_mode_" and not pooling_keys[key] and value ~= false then unsupported(file, key .. " is not supported") end
  end
  recipe.pooling, recipe.dimension = read_modes(json, file), json.embedding_dimension or json.word_embedding_dimension
  recipe.include_prompt = typed(json, file, "include_prompt", "boolean") ~= false
  name_unknown(recipe, file, json, pooling_keys)
end

local function read_normalize(recipe, folder, path)
  recipe.normalize = true
  local file = path .. "/config.json"
  if path == "" or not core.file_exists(folder .. "/" .. file) then return end
  local json = core.read_json(folder .. "/" .. file)
  for _, key in ipairs { "module_input_name", "module_output_name" } do
    if json[key] ~= nil and json[key] ~= "sentence_embedding" then unsupported(file, key .. " " .. options.show(json[key]) .. " is not supported") end
  end
  name_unknown(recipe, file, json, set_of "module_input_name module_output_name")
end

-- ---------------------------------------------------------------- the transformer and the whole

local transformer_files = { "sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json",
  "sentence_camembert_config.json", "sentence_albert_config.json", "sentence_xlm-roberta_config.json", "sentence_xlnet_config.json" }

local transformer_keys = set_of "max_seq_length do_lower_case transformer_task modality_config module_output_name processing_kwargs unpad_inputs"

local function is_plain_modality(config)
  for name, entry in pairs(config or {}) do
    if name == "text" and type(entry) == "table"
      and (entry.method_output_name ~= nil and entry.method_output_name ~= "last_hidden_state" or entry.method ~= nil and entry.method ~= "forward") then
      return false
    end
  end
  return true
end

local function read_transformer(recipe, folder, path)
  if path ~= "" then unsupported("modules.json", "the transformer lies in a folder of its own, " .. options.show(path)) end
  local file
  for _, name in ipairs(transformer_files) do
    if not file and core.file_exists(folder .. "/" .. name) then file = name end
  end
  if not file then return end
  local json = core.read_json(folder .. "/" .. file)
  recipe.max_tokens, recipe.max_source = typed(json, file, "max_seq_length", "number"), file .. ": max_seq_length"
  recipe.lower_case = typed(json, file, "do_lower_case", "boolean")
  local task, output = json.transformer_task, json.module_output_name
  if task ~= nil and task ~= "feature-extraction" then unsupported(file, "transformer_task " .. options.show(task) .. " is not supported") end
  if output ~= nil and output ~= "token_embeddings" then unsupported(file, "module_output_name " .. options.show(output) .. " is not supported") end
  if not is_plain_modality(json.modality_config) then unsupported(file, "modality_config asks for another output of the model") end
  local texts = {}
  for part, settings in pairs(typed(json, file, "processing_kwargs", "table") or {}) do
    for key, value in pairs(type(settings) == "table" and settings or {}) do
      if (part == "text" or part == "common") and key == "max_length" and type(value) == "number" then
        recipe.max_tokens, recipe.max_source = value, file .. ": processing_kwargs"
      elseif key ~= "padding" and key ~= "truncation" and key ~= "return_tensors" then
        texts["processing_kwargs." .. part .. "." .. key] = value
      end
    end
  end
  name_unknown(recipe, file, texts, {})
  name_unknown(recipe, file, json, transformer_keys)
end

local function read_whole(recipe, folder)
  local file = "config_sentence_transformers.json"
  if not core.file_exists(folder .. "/" .. file) then return end
  local json = core.read_json(folder .. "/" .. file)
  recipe.prompts = typed(json, file, "prompts", "table") or {}
  for name, text in pairs(recipe.prompts) do typed({ [name] = text }, file .. ": prompts", name, "string") end
  recipe.default_prompt = typed(json, file, "default_prompt_name", "string")
  if recipe.default_prompt and recipe.prompts[recipe.default_prompt] == nil then
    raise("format", "embed", ("%s: default_prompt_name %s is not among its prompts"):format(file, options.show(recipe.default_prompt)))
  end
  recipe.truncate_dim, recipe.similarity = typed(json, file, "truncate_dim", "number"), typed(json, file, "similarity_fn_name", "string")
  if json.model_type ~= nil and json.model_type ~= "SentenceTransformer" then
    unsupported(file, "model_type " .. options.show(json.model_type) .. " is not supported")
  end
  name_unknown(recipe, file, json, set_of "__version__ prompts default_prompt_name similarity_fn_name model_type truncate_dim requirements")
end

local readers = { Pooling = read_pooling, Normalize = read_normalize, Transformer = read_transformer, Dropout = function() end }

--- What the files say: { pooling= list of modes, normalize=, include_prompt=, dimension=, max_tokens=, max_source=,
--- lower_case=, prompts=, default_prompt=, truncate_dim=, similarity=, warnings= }; without modules.json only warnings.
---@param folder string
---@return table
function recipes.read(folder)
  local recipe, file = { warnings = {}, include_prompt = true }, folder .. "/modules.json"
  if not core.file_exists(file) then return recipe end
  recipe.sentences = true
  for _, module in ipairs(core.read_json(file)) do
    local kind, path = tostring(module.type):match "([%w_]+)$", module.path or ""
    if type(path) ~= "string" or path:find("..", 1, true) or path:sub(1, 1) == "/" then
      raise("format", "embed", "modules.json: a path outside the folder: " .. options.show(path))
    end
    local reader = readers[kind]
    if not reader then unsupported("modules.json", "module " .. options.show(module.type) .. " is not supported") end
    if kind == "Pooling" and recipe.pooling then unsupported("modules.json", "two modules that pool") end
    name_unknown(recipe, "modules.json", module, set_of "idx name path type")
    reader(recipe, folder, path)
  end
  read_whole(recipe, folder)
  return recipe
end

return recipes
