-- What was said so far: kept as messages, so that a saved one is small and fits another model.
local pl = require "perilune"
local core = require "perilune.core"
local events = require "perilune.host.events"
local objects = require "perilune.host.objects"

local conversation = {}

--- A conversation with a model; `options.system` comes first, the rest are options of its answers.
---@param model table objects' entry
---@param options table
function conversation.new(model, options)
  local system = options.system
  options.system = nil
  local self = { model = model, options = options, messages = pl.json.list {} }
  if system then self.messages[1] = { role = "system", content = system } end
  return self
end

-- Templates are for models that have one; the others go on with the text.
local function prompt_of(self)
  local tokenizer = self.model.value.tokenizer
  if tokenizer and next(tokenizer.chat_templates or {}) then return { messages = self.messages } end
  local texts = {}
  for i, message in ipairs(self.messages) do texts[i] = message.content end
  return { prompt = table.concat(texts, "\n") }
end

--- Says something and submits the answer; it is kept when it is done.
---@return integer number of the request
function conversation.say(self, text, worker)
  if self.answering then events.collect() end
  if self.answering then
    core.error { code = "state", op = "say", message = "the answer before is still under way", hint = "pl_step until it is done, or cancel it" }
  end
  self.messages[#self.messages + 1] = { role = "user", content = text }
  local fine, number = pcall(events.submit, self.model, prompt_of(self), self.options, worker)
  if not fine then
    self.messages[#self.messages] = nil
    error(number, 0)
  end
  self.answering = number
  objects.get(number, "request").on_done = function(result)
    self.answering = nil
    if result.finish_reason == "error" then
      self.messages[#self.messages] = nil
    else
      self.messages[#self.messages + 1] = { role = "assistant", content = result.text }
    end
  end
  return number
end

--- Writes what was said.
function conversation.save(self, path)
  events.collect()
  core.write_file(path, pl.json.encode({ version = 1, options = self.options, messages = self.messages }, { indent = 1 }) .. "\n")
end

local function damaged(path)
  core.error { code = "format", op = "restore", message = path .. ": not a conversation that pl_save wrote" }
end

--- Takes up what was said.
function conversation.restore(model, path)
  local saved = core.read_json(path)
  if type(saved) ~= "table" or saved.version ~= 1 or type(saved.messages) ~= "table" then damaged(path) end
  local self = conversation.new(model, type(saved.options) == "table" and saved.options or {})
  for i, message in ipairs(saved.messages) do
    if type(message) ~= "table" or type(message.role) ~= "string" or type(message.content) ~= "string" then damaged(path) end
    self.messages[i] = { role = message.role, content = message.content }
  end
  return self
end

return conversation
