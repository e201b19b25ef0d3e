-- Model folders as files: m:save.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local progress = require "perilune.base.progress"

local save = {}

-- What belongs to a model: configurations, weights and their index, tokenizer files, templates.
local function belongs(name)
  return name:match "%.safetensors$" or name:match "%.model$" or name:match "%.txt$" or name:match "%.jinja$"
    or (name:match "%.json$" and not name:match "^expected")
end

local chunk = 2 ^ 20

-- Through a temporary name, so that a failure leaves no half of a file. `wrote(bytes)` hears of each part.
local function copy_file(from, to, op, wrote)
  local source, problem = io.open(from, "rb")
  if not source then raise("file", op, problem) end
  local target, refused = io.open(to .. ".part", "wb")
  if not target then
    source:close()
    raise("file", op, refused)
  end
  local fine = true
  while fine do
    local bytes = source:read(chunk)
    if not bytes then break end
    fine, refused = target:write(bytes)
    wrote(#bytes)
  end
  source:close()
  fine = target:close() and fine
  if fine then fine, refused = os.rename(to .. ".part", to) end
  if not fine then
    os.remove(to .. ".part")
    raise("file", op, to .. ": " .. tostring(refused or "it could not be written"))
  end
end

-- Folders inside that change what a model says: its other chat templates, and the modules behind it.
local function inner_folders(from)
  local names = {}
  if core.folder_exists(from .. "/additional_chat_templates") then names[1] = "additional_chat_templates" end
  if not core.file_exists(from .. "/modules.json") then return names end
  for _, module in ipairs(core.read_json(from .. "/modules.json")) do
    local path = type(module) == "table" and module.path
    local inside = type(path) == "string" and path:find "^[%w_.-]+$" and not path:find "^%.+$"
    if inside and core.folder_exists(from .. "/" .. path) then names[#names + 1] = path end
  end
  return names
end

-- Paths below the folder, those in inner folders last.
local function paths_of(from, wanted)
  local paths = {}
  for _, name in ipairs(core.list_directory(from)) do
    if belongs(name) and (not wanted or wanted(name)) then paths[#paths + 1] = name end
  end
  for _, folder in ipairs(inner_folders(from)) do
    for _, name in ipairs(core.list_directory(from .. "/" .. folder)) do
      if belongs(name) then paths[#paths + 1] = folder .. "/" .. name end
    end
  end
  return paths
end

local function size_of(path)
  local file = io.open(path, "rb")
  local size = file and file:seek "end" or 0
  if file then file:close() end
  return size
end

local function copy_all(pairs_, op, tick)
  local done, total = 0, 0
  for _, pair in ipairs(pairs_) do total = total + size_of(pair[1]) end
  for _, pair in ipairs(pairs_) do
    copy_file(pair[1], pair[2], op, function(bytes)
      done = done + bytes
      tick(done, total)
    end)
  end
end

--- Whether a file of a model folder holds no weights.
---@param name string
---@return boolean
function save.not_weights(name) return not name:find "%.safetensors$" and not name:find "%.safetensors%.index%.json$" end

--- Copies the files of a model folder, or the one file that is a model.
---@param from string
---@param to string made where it is missing
---@param op string
---@param o table|nil { wanted=function(name) → boolean (of the folder's own files: those that are copied), on_progress=function(done, total) bytes }
function save.copy(from, to, op, o)
  o = o or {}
  if type(to) ~= "string" or to == "" then raise("argument", op, "expected the path of a folder, got " .. options.show(to)) end
  core.make_directory(to, op)
  local pairs_ = {}
  if core.file_exists(from) then
    pairs_[1] = { from, to .. "/" .. from:match "[^/]*$" }
  else
    for _, folder in ipairs(inner_folders(from)) do core.make_directory(to .. "/" .. folder, op) end
    for i, path in ipairs(paths_of(from, o.wanted)) do pairs_[i] = { from .. "/" .. path, to .. "/" .. path } end
  end
  progress.during(op, o.on_progress, function(tick) copy_all(pairs_, op, tick) end)
end

return save
