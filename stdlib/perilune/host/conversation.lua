-- What was said so far: kept as messages, so that a saved one is small and fits another model; with save_cache its keys
-- and values, too, so that a restored one goes on without reading all of it again.
local pl = require "perilune"
local core = require "perilune.core"
local events = require "perilune.host.events"
local objects = require "perilune.host.objects"

local conversation = {}

local cache_end = ".cache"   -- of the file beside the one that pl_save writes

-- Keys and values of its own; what asks for several answers or drops text has none.
local function own_cache(model, options)
  for _, name in ipairs { "n", "num_beams", "context", "truncate" } do
    if options[name] ~= nil then
      core.error { code = "option", op = "converse", message = "options save_cache and " .. name .. " do not go together" }
    end
  end
  return model.value:cache()
end

--- A conversation with a model; `options.system` comes first, `options.save_cache` makes conversation.save write keys and
--- values as well, the rest are options of its answers.
---@param model table objects' entry
---@param options table
function conversation.new(model, options)
  local system, save_cache = options.system, options.save_cache
  options.system, options.save_cache = nil, nil
  if save_cache ~= nil and type(save_cache) ~= "boolean" then
    core.error { code = "option", op = "converse", message = "option save_cache: expected true or false" }
  end
  local self = { model = model, options = options, messages = pl.json.list {} }
  if save_cache then self.cache, self.held = own_cache(model, options), {} end
  if system then self.messages[1] = { role = "system", content = system } end
  return self
end

-- Templates are for models that have one; the others go on with the text.
local function prompt_of(self)
  local tokenizer = self.model.value.tokenizer
  if tokenizer and next(tokenizer.chat_templates or {}) then return { messages = self.messages } end
  local texts = {}
  for i, message in ipairs(self.messages) do texts[i] = message.content end
  local text = table.concat(texts, "\n")
  if not self.cache then return { prompt = text } end
  -- The cache keeps what both begin with, and the prompt is the rest.
  local ids, same = tokenizer:ids(text), 0
  while same < #self.held and same < #ids - 1 and self.held[same + 1] == ids[same + 1] do same = same + 1 end
  if not pcall(self.cache.crop, self.cache, same) then
    same = 0
    self.cache:crop(0)
  end
  self.held = ids
  return { ids = { unpack(ids, same + 1) } }
end

local function options_of(self)
  if not self.cache then return self.options end
  local given = { cache = self.cache }
  for name, value in pairs(self.options) do given[name] = value end
  return given
end

--- Says something and submits the answer; it is kept when it is done.
---@return integer number of the request
function conversation.say(self, text, worker)
  if self.answering then events.collect() end
  if self.answering then
    core.error { code = "state", op = "say", message = "the answer before is still under way", hint = "pl_step until it is done, or cancel it" }
  end
  if self.cache and worker then
    core.error { code = "option", op = "say", message = "option save_cache: the worker's engine has keys and values of its own" }
  end
  self.messages[#self.messages + 1] = { role = "user", content = text }
  local fine, number = pcall(function() return events.submit(self.model, prompt_of(self), options_of(self), worker) end)
  if not fine then
    self.messages[#self.messages] = nil
    error(number, 0)
  end
  self.answering = number
  objects.get(number, "request").on_done = function(result)
    self.answering = nil
    self.reused = result.reused_tokens
    for _, id in ipairs(self.held and result.ids or {}) do self.held[#self.held + 1] = id end
    if result.finish_reason == "error" then
      self.messages[#self.messages] = nil
    else
      self.messages[#self.messages + 1] = { role = "assistant", content = result.text }
    end
  end
  return number
end

--- Writes what was said; with save_cache keys and values into a file beside it.
function conversation.save(self, path)
  events.collect()
  if self.answering and self.cache then
    core.error { code = "state", op = "save", message = "the answer is still under way", hint = "pl_step until it is done, or cancel it" }
  end
  if self.cache then self.cache:save(path .. cache_end) end
  local saved = { version = 1, options = self.options, messages = self.messages, held = self.held and pl.json.list(self.held) }
  core.write_file(path, pl.json.encode(saved, { indent = 1 }) .. "\n")
end

local function damaged(path)
  core.error { code = "format", op = "restore", message = path .. ": not a conversation that pl_save wrote" }
end

-- Of the same model, loaded in the same way; else all of it is read again.
local function restore_cache(self, path, held)
  local ids = {}
  for i, id in ipairs(held) do
    if type(id) ~= "number" then damaged(path) end
    ids[i] = id
  end
  local fine, cache = pcall(pl.cache_load, path .. cache_end, self.model.value)
  if fine then
    self.cache, self.held = cache, ids
  else
    core.warn("keys and values of the conversation are computed again: " .. tostring(cache), "restore")
  end
end

--- Takes up what was said.
function conversation.restore(model, path)
  local saved = core.read_json(path)
  if type(saved) ~= "table" or saved.version ~= 1 or type(saved.messages) ~= "table" then damaged(path) end
  local options = type(saved.options) == "table" and saved.options or {}
  options.save_cache = saved.held ~= nil or nil
  local self = conversation.new(model, options)
  for i, message in ipairs(saved.messages) do
    if type(message) ~= "table" or type(message.role) ~= "string" or type(message.content) ~= "string" then damaged(path) end
    self.messages[i] = { role = message.role, content = message.content }
  end
  if type(saved.held) == "table" then restore_cache(self, path, saved.held) end
  return self
end

return conversation
