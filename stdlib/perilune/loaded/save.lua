-- Model folders as files: m:save.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local save = {}

-- What belongs to a model: configurations, weights and their index, tokenizer files, templates.
local function belongs(name)
  return name:match "%.safetensors$" or name:match "%.model$" or name:match "%.txt$" or name:match "%.jinja$"
    or (name:match "%.json$" and not name:match "^expected")
end

local chunk = 2 ^ 20

-- Through a temporary name, so that a failure leaves no half of a file.
local function copy_file(from, to, op)
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
  end
  source:close()
  fine = target:close() and fine
  if fine then fine, refused = os.rename(to .. ".part", to) end
  if not fine then
    os.remove(to .. ".part")
    raise("file", op, to .. ": " .. tostring(refused or "it could not be written"))
  end
end

--- Copies the files of a model folder, or the one file that is a model.
---@param from string
---@param to string made where it is missing
---@param op string
function save.copy(from, to, op)
  if type(to) ~= "string" or to == "" then raise("argument", op, "expected the path of a folder, got " .. options.show(to)) end
  core.make_directory(to, op)
  if core.file_exists(from) then return copy_file(from, to .. "/" .. from:match "[^/]*$", op) end
  for _, name in ipairs(core.list_directory(from)) do
    if belongs(name) then copy_file(from .. "/" .. name, to .. "/" .. name, op) end
  end
end

return save
