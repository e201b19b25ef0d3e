-- What tok:chat does: messages as the text that a model was trained to answer, by the model's own template.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local names_of = require "perilune.base.names_of"
local jinja = require "perilune.chat.jinja"
local import = require "perilune.chat.jinja.import"
local values = require "perilune.chat.jinja.values"

local chat_template = {}

local roles = { "bos", "eos", "unk", "sep", "pad", "cls", "mask" }

local spec = { tools = "table|string", documents = "table|string", add_generation_prompt = "boolean", template = "string", date = "any",
  variables = "table" }

-- JSON text or a table of the caller, as a template sees it.
local function to_value(given, name, op)
  if type(given) == "string" then return jinja.json(given, op) end
  local fine, value = pcall(import.value, given, name)
  if fine then return value end
  return raise("argument", op, name .. ": " .. (type(value) == "table" and value.jinja or tostring(value)))
end

-- Names that families give to what a model thinks before it answers: templates read one of them.
local reasoning = { "reasoning_content", "thinking", "reasoning" }

local function with_reasoning(message)
  for _, name in ipairs(reasoning) do
    local thought = values.lookup(message, name)
    if thought ~= nil and thought ~= values.none then
      local out = values.dict()
      values.put(out, "thinking", thought)
      for _, key in ipairs(message.keys) do values.put(out, key, values.lookup(message, key)) end
      values.put(out, "reasoning_content", thought)
      return out
    end
  end
  return message
end

local function check_message(message, i, op)
  local where = ("message %d"):format(i)
  if values.class(message) ~= values.Dict then
    raise("argument", op, where .. ": expected { role=, content= }, got " .. values.type_name(message))
  end
  local role, content = values.lookup(message, "role"), values.lookup(message, "content")
  if type(role) ~= "string" then
    raise("argument", op, where .. ": `role` is missing", 'a message is { role = "user", content = "…" }')
  end
  local kind = values.class(content)
  if content ~= nil and content ~= values.none and kind ~= "string" and kind ~= values.Sequence and kind ~= values.Dict then
    raise("argument", op, ("%s (%s): `content` must be a text or a list of parts, got %s"):format(where, role, values.type_name(content)))
  end
  if content == nil and #message.keys == 1 then
    raise("argument", op, ("%s (%s): `content` is missing"):format(where, role))
  end
end

local function read_messages(messages, op, strict)
  if type(messages) ~= "table" and type(messages) ~= "string" then
    raise("argument", op, "expected a list of messages, got " .. options.show(messages), 'a message is { role = "user", content = "…" }')
  end
  if type(messages) == "table" and messages.role ~= nil then
    raise("argument", op, "expected a list of messages, got one message", "put it in a list: { message }")
  end
  local list = to_value(messages, "messages", op)
  if values.class(list) ~= values.Sequence then raise("argument", op, "expected a list of messages, got " .. values.type_name(list)) end
  if strict and #list.items == 0 then raise("argument", op, "no messages", 'a message is { role = "user", content = "…" }') end
  local out = {}
  for i, message in ipairs(list.items) do
    if strict then check_message(message, i, op) end
    out[i] = values.class(message) == values.Dict and with_reasoning(message) or message
  end
  return values.sequence(out)
end

-- A list of dictionaries, or none.
local function read_list(given, name, op)
  if given == nil or given == values.none then return values.none end
  local list = to_value(given, name, op)
  if values.class(list) ~= values.Sequence then raise("argument", op, ("option %s: expected a list, got %s"):format(name, values.type_name(list))) end
  local out = {}
  for i, item in ipairs(list.items) do
    if type(item) == "string" then item = jinja.json(item, op) end
    if values.class(item) ~= values.Dict then
      raise("argument", op, ("option %s: entry %d: expected a table, got %s"):format(name, i, values.type_name(item)))
    end
    out[i] = item
  end
  return values.sequence(out)
end

--- Renders a template's source.
---@param source string Jinja
---@param messages table[]|string list of { role=, content=, … }, or the same as JSON text
---@param opts table|nil { tools=, documents=, add_generation_prompt=true, special= { bos_token=… }, variables=, date=, op=, strict= check role and content }
---@return string
function chat_template.render(source, messages, opts)
  opts = opts or {}
  local op = opts.op or "chat"
  local names = {}
  for name, spelling in pairs(opts.special or {}) do names[name] = spelling end
  for name, value in pairs(opts.variables or {}) do
    if type(name) ~= "string" then raise("option", op, "option variables: names are texts, got " .. options.show(name)) end
    if type(value) == "table" then value = to_value(value, name, op) end
    names[name] = value
  end
  names.messages = read_messages(messages, op, opts.strict)
  names.tools = read_list(opts.tools, "tools", op)
  names.documents = read_list(opts.documents, "documents", op)
  names.add_generation_prompt = opts.add_generation_prompt ~= false
  return jinja.render(source, names, { op = op, date = opts.date })
end

--- The fields of a JSON object as a template sees them: the order of keys inside them is kept.
---@param object string|table|nil JSON text, or such a field
---@return table<string, any>
function chat_template.fields(object)
  if type(object) == "string" then object = jinja.json(object, "chat") end
  local out = {}
  if values.class(object) == values.Dict then
    for _, key in ipairs(object.keys) do out[key] = values.lookup(object, key) end
  end
  return out
end

-- ---------------------------------------------------------------- a tokenizer's own templates

--- The Jinja source to use: `wanted` is a name of one or a source; without it "tool_use" when tools
--- are given and there is one, else "default".
---@param sources table<string, string>
---@param wanted string|nil
---@param has_tools boolean
---@param op string
---@return string
function chat_template.choose(sources, wanted, has_tools, op)
  if wanted then
    if sources[wanted] then return sources[wanted] end
    if wanted:find "{[{%%#]" then return wanted end
    local near = core.nearest(wanted, names_of(sources))
    raise("option", op, ("option template: %s is neither a template of this tokenizer nor a Jinja source"):format(options.show(wanted)),
      near and ('did you mean "' .. near .. '"?') or next(sources) and "it has " .. table.concat(names_of(sources), ", ") or "it has none")
  end
  if has_tools and sources.tool_use then return sources.tool_use end
  if sources.default then return sources.default end
  local names = names_of(sources)
  if #names > 0 then raise("option", op, "several chat templates and none is the default", "template= one of " .. table.concat(names, ", ")) end
  return raise("argument", op, "this tokenizer has no chat template: its model was not trained on conversations, or the file is missing",
    "give one with template=, add chat_template.jinja beside the tokenizer, or write the prompt as text")
end

-- Spellings of the tokens that have a role: bos_token, eos_token, …
local function special_names(tok)
  local out, ids = {}, tok.specials
  for _, role in ipairs(roles) do
    if ids[role] then out[role .. "_token"] = tok:piece(ids[role]) end
  end
  return out
end

--- Messages as the text of a prompt, by the model's own Jinja template. Encode it with special tokens
--- recognised and none added: `tok:ids(text, { special = false })`; m:generate{ messages= } does so.
---@param tok Tokenizer
---@param messages table[]|string list of { role=, content=, … }, or the same as JSON text
---@param opts table|nil { tools=, documents=, add_generation_prompt=true, template=, date=, variables= }
---@return string
function chat_template.chat(tok, messages, opts)
  local o = options.check(opts, spec, "chat")
  local source = chat_template.choose(tok.chat_templates, o.template, o.tools ~= nil, "chat")
  return chat_template.render(source, messages, { tools = o.tools, documents = o.documents, add_generation_prompt = o.add_generation_prompt,
    special = special_names(tok), variables = o.variables, date = o.date, strict = true })
end

return chat_template
