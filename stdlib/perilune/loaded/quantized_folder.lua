-- Models whose weights were quantized here as folders: the files of the original, and its weights as they are stored.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local progress = require "perilune.base.progress"
local folders = require "perilune.loaded.save"
local gguf_file = require "perilune.loaded.gguf_file"

local quantized_folder = {}

local recipe_key = "perilune.recipe"

--- The recipe that a file's metadata holds.
---@param s table a model's state
---@return any|nil
function quantized_folder.recipe(s)
  local text = s.checkpoint:metadata(recipe_key)
  return text and core.json(text, s.path) or nil
end

-- Tables of patterns and options in JSON; a name alone is a text.
local function recipe_text(recipe) return core.write_json(recipe) end

-- Files that say how weights were quantized before config.json did.
local old_configs = { ["quantize_config.json"] = true, ["quant_config.json"] = true }
local function copied(name) return folders.not_weights(name) and not old_configs[name] end

-- A configuration that says how weights used to be quantized says so no longer.
local function write_config(s, path)
  if s.config.quantization_config == nil then return end
  local config = core.json(core.read_file(path .. "/config.json"), "config.json")
  config.quantization_config = nil
  core.write_file(path .. "/config.json", core.write_json(config) .. "\n")
end

--- Writes the folder.
---@param s table a model's state
---@param path string
---@param o table { on_progress=, report= (a text for the metadata) }
---@param op string
function quantized_folder.write(s, path, o, op)
  if type(path) ~= "string" or path == "" then raise("argument", op, "expected the path of a folder, got " .. options.show(path)) end
  if core.file_exists(s.path) then
    core.make_directory(path, op)
    return gguf_file.write(s, path .. "/" .. s.path:match "[^/]*$", o, op)
  end
  if s.positions_from then
    raise("unsupported", op, "the model was loaded with interpolate_pos_encoding, and a folder is written with the table of positions that is stored",
      "quantize and save it without the option, and load that with it")
  end
  if path:gsub("/+$", "") == s.path then
    raise("argument", op, path .. " is the folder that the weights are read from", "take another folder")
  end
  folders.copy(s.path, path, op, { wanted = copied })
  write_config(s, path)
  local metadata = { format = "pt", [recipe_key] = recipe_text(s.recipe), ["perilune.report"] = o.report }
  progress.during(op, o.on_progress, function(tick) s.checkpoint:save(path .. "/model.safetensors", metadata, tick) end)
end

return quantized_folder
