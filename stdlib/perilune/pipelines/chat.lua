-- chat: messages through the model's template, answered; a text is one message of the user.
local kind = require "perilune.base.kind"
local turn_end = require "perilune.chat.turn_end"
local generating = require "perilune.pipelines.generating"

local function is_message(value) return type(value) == "table" and value.role ~= nil end

return generating.task {
  heads = { "causal" }, head = "causal", spec = { system = "string", tools = "table", continue_final_message = "boolean" },
  add_stops = function(p, own) turn_end.add(own, p.model, { tools = p.options.tools }) end,
  takes_list = function(input) return kind.is_list(input) and is_message(input[1]) end,
  prompt = function(p, input)
    local messages = input
    if not (type(input) == "table" and is_message(input[1])) then
      messages = { { role = "user", content = generating.text(p, input) } }
    end
    if p.options.system and messages[1].role ~= "system" then
      local with = { { role = "system", content = p.options.system } }
      for i, message in ipairs(messages) do with[i + 1] = message end
      messages = with
    end
    local text = p.tokenizer:chat(messages, { tools = p.options.tools,
      continue_final_message = p.options.continue_final_message })
    return p.tokenizer:ids(text, { special = false })
  end,
}
