-- What a long search has finished, in a folder: after a kill it goes on where it was.
local core = require "perilune.core"
local raise = require "perilune.base.raise"

local finished = {}

local nothing = { read = function() end, write = function() end }

--- Rows of ids as a short text: equal for equal rows.
---@param rows integer[][]
---@return string
function finished.digest(rows)
  local sum, count = 17, 0
  for _, row in ipairs(rows) do
    for _, id in ipairs(row) do sum, count = (sum * 31 + id + 1) % 4294967291, count + 1 end
    sum = (sum * 31) % 4294967291
  end
  return ("%d-%08x"):format(count, sum)
end

--- Opens the folder, which is made where it is missing; raises where another search left it.
---@param folder string|nil nil: nothing is kept
---@param key string what is searched: source, types, method, calibration
---@return table { read=function(name) → tensors by name or nil, write=function(name, tensors) }
function finished.open(folder, key)
  if not folder then return nothing end
  core.make_directory(folder, "quantize")
  local note = folder .. "/search.json"
  if core.file_exists(note) then
    if core.json(core.read_file(note), note).key ~= key then
      raise("state", "quantize", folder .. " holds layers of another search (another model, recipe or calibration)", "name another folder, or remove it")
    end
  else
    core.write_file(note, core.write_json { key = key } .. "\n")
  end
  local function path(name) return ("%s/%s.safetensors"):format(folder, (name:gsub("[^%w_.-]", "_"))) end
  return {
    read = function(name)
      local file = path(name)
      if not core.file_exists(file) then return nil end
      local open, tensors = core.open_tensors(file), {}
      for _, one in ipairs(open.names) do tensors[one] = open:tensor(one) end
      return tensors
    end,
    write = function(name, tensors) core.save_tensors(path(name), tensors) end,
  }
end

return finished
