-- perilune chat: a conversation, line by line.
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"
local chat_session = require "perilune.program.chat_session"
local run = require "perilune.commands.run"

local chat = {
  summary = "talk with a model",
  usage = "perilune chat MODEL [options]",
  options = {
    ["system"] = { value = "TEXT", help = "how to answer" },
    ["raw"] = { help = "no chat template: every line continues the text so far" },
  },
  help = "Every line is a message; the answer follows as it comes. /help lists the commands of a conversation:\n"
    .. "/system, /reset, /save, /load, /quit. Ctrl-C stops an answer, Ctrl-D leaves. Through a pipe, lines in\n"
    .. "and answers out, without prompts. When the conversation outgrows the model's positions, the oldest\n"
    .. "messages are dropped, and a line says so.",
}

for _, name in ipairs { "max-new-tokens", "temperature", "top-k", "top-p", "min-p", "repetition-penalty", "greedy", "seed", "stop", "threads",
  "device", "compute" } do
  chat.options[name] = run.options[name]
end

--- Loads the model; the program then reads lines for the session that is returned.
---@param options table
---@param arguments string[]
---@return integer|table
function chat.run(options, arguments)
  if #arguments ~= 1 then
    return command_line.misused(chat, "name one model folder")
  end
  local m = run.load(arguments[1], options)
  if m.head ~= "causal" then
    io.stderr:write(("perilune chat: %s writes no text: its head is %s (family %s)\n"):format(arguments[1], m.head, m.family))
    return command_line.failed
  end
  if not m.tokenizer then
    io.stderr:write("perilune chat: this model has no tokenizer: ", tostring(m.tokenizer_reason), "\n")
    return command_line.failed
  end
  if not options.raw and not next(m.tokenizer.chat_templates) then
    io.stderr:write("perilune chat: ", arguments[1], " has no chat template: it was not made for conversations, or chat_template.jinja is missing; ",
      "--raw continues plain text instead\n")
    return command_line.failed
  end
  return chat_session.new(m, { system = options.system, raw = options.raw, options = run.generation_options(options),
    interactive = core.is_tty(0) and core.is_tty(1) })
end

return chat
