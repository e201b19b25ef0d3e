-- perilune advise: which ways of loading a model fit this machine.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"

local advise = {
  summary = "say which ways of loading a model fit, from its headers and this machine",
  usage = "perilune advise MODEL [--memory 8G] [--device NAME] [--context N] [--json]",
  options = {
    memory = { value = "BYTES", help = "such as 8G (default: what is free on the device)" },
    context = { value = "N", number = true, help = "tokens to leave room for (default: the model's own, at most 2048)" },
    device = { value = "NAME", help = "auto, cpu, cuda, emulator" },
    json = { help = "machine-readable" },
  },
  help = "Best first: what fits, and of that what loses least of the file's own numbers. No weight is read.\n"
    .. "perilune bench MODEL --modes measures the ways instead.",
}

function advise.run(options, arguments)
  local path = arguments[1]
  if not path or #arguments > 1 then return command_line.misused(advise, "name one model") end
  local list = pl.advise(path, { memory = options.memory, context = options.context, device = options.device })
  if not options.json then
    print(path .. " on " .. tostring(list))
    return command_line.ok
  end
  local ways = core.array {}
  for i, way in ipairs(list) do ways[i] = way end
  print(core.write_json { model = path, device = list.device, memory = list.memory, context = list.wanted, ways = ways })
  return command_line.ok
end

return advise
