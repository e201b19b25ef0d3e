-- perilune lock: writes down what a model is and answers, for perilune check to compare.
local pl = require "perilune"
local core = require "perilune.core"
local lock = require "perilune.program.lock"
local progress = require "perilune.base.progress"
local command_line = require "perilune.program.command_line"

local verb = {
  summary = "write down what a model is and answers, so that check sees a change",
  usage = "perilune lock MODEL [--output FILE] [--force]",
  options = { output = { value = "FILE", help = "where the lock goes (default: MODEL/" .. lock.name .. ")" },
    force = { help = "write over a lock that is there" } },
  help = "The lock holds digests of the weights, the configuration, the defaults of generation, what the\n"
    .. "tokenizer does with fixed texts and the chat templates, the model's answer to a fixed text, and what\n"
    .. "computed it: version, compute mode (f32), device and instruction set.\n"
    .. "perilune check MODEL compares and says which part changed.",
}

function verb.run(options, arguments)
  local path = arguments[1]
  if not path or #arguments > 2 or (arguments[2] and options.output) then
    return command_line.misused(verb, "name one model folder")
  end
  local m = pl.load(path, { compute = "f32" })
  local to = options.output or arguments[2] or lock.path_of(m)
  if not options.force and core.file_exists(to) and core.read_file(to) ~= "" then
    io.stderr:write("perilune lock: ", to, " is there already; perilune check ", path, " compares with it, --force writes over it\n")
    return command_line.failed
  end
  progress.note("locking " .. path)
  local made = lock.write(m, to)
  progress.note(nil)
  print(("%s: %s"):format(to, made.fingerprint))
  return command_line.ok
end

return verb
