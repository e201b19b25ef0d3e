-- perilune lock: writes down what a model is and answers, for perilune check to compare.
local pl = require "perilune"
local lock = require "perilune.program.lock"
local command_line = require "perilune.program.command_line"

local verb = {
  summary = "write down what a model is and answers, so that check sees a change",
  usage = "perilune lock MODEL [--output FILE]",
  options = { output = { value = "FILE", help = "where the lock goes (default: MODEL/" .. lock.name .. ")" } },
  help = "The lock holds digests of the weights, the configuration, the defaults of generation, what the\n"
    .. "tokenizer does with fixed texts and the chat templates, and the model's answer to a fixed text.\n"
    .. "perilune check MODEL compares and says which part changed.",
}

function verb.run(options, arguments)
  local path = arguments[1]
  if not path or #arguments > 2 or (arguments[2] and options.output) then
    return command_line.misused(verb, "name one model folder")
  end
  local m = pl.load(path, { compute = "f32" })
  local to = options.output or arguments[2] or lock.path_of(m)
  local made = lock.write(m, to)
  print(("%s: %s"):format(to, made.fingerprint))
  return command_line.ok
end

return verb
