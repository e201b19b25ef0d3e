-- pl.files: folders and files, as far as scripts need them beside io.
local core = require "perilune.core"
local options = require "perilune.base.options"

local files = {}

--- Names of what a folder holds, sorted; without "." and "..".
---
---     print(table.concat(pl.files.list "scripts/models/reviews", " "))      --> config.json expected.json expected.safetensors
---@param folder string
---@return string[]
function files.list(folder) return core.list_directory(folder, "files.list") end

--- Whether there is a file or folder of this name, and which of the two.
---
---     print(pl.files.exists "scripts/models")                               --> true	folder
---     print(pl.files.exists "no/such/file")                                 --> false
---@param path string
---@return boolean
---@return string|nil kind "file" or "folder"
function files.exists(path)
  if core.file_exists(path) then return true, "file" end
  if core.folder_exists(path) then return true, "folder" end
  return false
end

--- Makes a folder and those above it; one that is there already is fine.
---
---     local folder = os.tmpname() .. "-folder"
---     pl.files.make_folder(folder .. "/inside")
---     print(pl.files.exists(folder))                                        --> true	folder
---     pl.files.remove(folder, { all = true })
---@param path string
function files.make_folder(path) core.make_directory(path, "files.make_folder") end

--- Removes a file or an empty folder; with `all` a folder with all that is in it.
---
---     print(pl.files.remove "no/such/file")                                 --> false
---@param path string
---@param opts table|nil { all=false }
---@return boolean removed false: nothing was there
function files.remove(path, opts)
  opts = options.check(opts, { all = "boolean" }, "files.remove")
  return core.remove_path(path, opts.all == true, "files.remove")
end

return files
