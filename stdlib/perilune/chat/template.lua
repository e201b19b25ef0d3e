-- What tok:chat does: messages as the text that a model was trained to answer, by the model's own template.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kinds = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"
local jinja = require "perilune.chat.jinja"
local import = require "perilune.chat.jinja.import"
local values = require "perilune.chat.jinja.values"
local strings = require "perilune.chat.jinja.text"

local template = {}

local roles = { "bos", "eos", "unk", "sep", "pad", "cls", "mask" }

local spec = { tools = "table|string", documents = "table|string", add_generation_prompt = "boolean",
  continue_final_message = "boolean|string", template = "string", date = "any", variables = "table" }

--- The names of tok:chat's options: keys that go with messages.
template.option_names = spec

-- JSON text or a table of the caller, as a template sees it.
local function to_value(given, name, op)
  if type(given) == "string" then return jinja.json(given, op) end
  local fine, value = pcall(import.value, given, name)
  if fine then return value end
  return raise("argument", op, name .. ": " .. (type(value) == "table" and value.jinja or tostring(value)))
end

-- Names that families give to what a model thinks before it answers: templates read one of them.
local reasoning = { "reasoning_content", "thinking", "reasoning" }

-- A message as published templates are given it: keys without a value are absent (client libraries
-- write content: null), and a thought has every name that a template may ask for.
local function normalized(message)
  local out, thought = values.dict(), nil
  for _, name in ipairs(reasoning) do
    local one = values.lookup(message, name)
    if thought == nil and one ~= values.none then thought = one end
  end
  if thought ~= nil then values.put(out, "thinking", thought) end
  for _, key in ipairs(message.keys) do
    local value = values.lookup(message, key)
    if value ~= values.none then values.put(out, key, value) end
  end
  if thought ~= nil then values.put(out, "reasoning_content", thought) end
  return out
end

-- Names that other places have for a message's text; a template would leave it out in silence.
local brought_names = { text = true, value = true, message = true, contents = true, body = true }

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
  if content ~= nil then return end
  for _, key in ipairs(message.keys) do
    if brought_names[key] then
      raise("argument", op, ("%s (%s): `content` is missing"):format(where, role), ("did you mean content for %s?"):format(key))
    end
  end
  if #message.keys == 1 then raise("argument", op, ("%s (%s): `content` is missing"):format(where, role)) end
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
    out[i] = values.class(message) == values.Dict and normalized(message) or message
  end
  return values.sequence(out)
end

-- A list of dictionaries, or none.
local function read_list(given, name, op)
  if given == nil or given == values.none then return values.none end
  if type(given) ~= "table" and not (type(given) == "string" and given:find "^%s*%[") then
    raise("argument", op, ("option %s: expected a list of tables, got %s"):format(name, options.show(given)))
  end
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

-- ---------------------------------------------------------------- going on from a begun answer

-- What marks the end of the text to go on from while a template is rendered, as published.
local mark = "CONTINUE_FINAL_MESSAGE_TAG "

local function is_reasoning(field)
  for _, name in ipairs(reasoning) do if name == field then return true end end
  return false
end

local function copied(dict)
  local out = values.dict()
  for _, key in ipairs(dict.keys) do values.put(out, key, values.lookup(dict, key)) end
  return out
end

-- A list of parts with the mark behind the text of the last part that has one, and that text.
local function mark_part(parts, op)
  local items = {}
  for i, part in ipairs(parts.items) do items[i] = part end
  for i = #items, 1, -1 do
    local text = values.class(items[i]) == values.Dict and values.lookup(items[i], "text")
    if type(text) == "string" then
      items[i] = copied(items[i])
      values.put(items[i], "text", text .. mark)
      return values.sequence(items), text
    end
  end
  return raise("argument", op, "continue_final_message: the last message has no text to go on from")
end

-- The messages with the mark in the last one, and the text it stands behind.
local function mark_final(messages, source, wanted, op)
  local field = type(wanted) == "string" and wanted or "content"
  local items = {}
  for i, message in ipairs(messages.items) do items[i] = message end
  local last = values.class(items[#items]) == values.Dict and copied(items[#items]) or nil
  local text = last and values.lookup(last, field)
  if text == nil or text == values.none then
    raise("argument", op, ("continue_final_message: the last message has no %s to go on from"):format(options.show(field)))
  end
  local fields, read = { field }, false
  if is_reasoning(field) then
    fields = {}
    for _, name in ipairs(reasoning) do
      local same = values.lookup(last, name)
      if same ~= nil and values.equal(same, text) then fields[#fields + 1] = name end
    end
  end
  for _, name in ipairs(fields) do read = read or source:find(name, 1, true) ~= nil end
  if not read then raise("option", op, ("option continue_final_message: the template does not read %s"):format(options.show(field))) end
  local marked
  if values.class(text) == values.Sequence then
    marked, text = mark_part(text, op)
  elseif type(text) == "string" then
    marked = text .. mark
  else
    raise("argument", op, ("continue_final_message: %s must be a text, got %s"):format(field, values.type_name(text)))
  end
  for _, name in ipairs(fields) do values.put(last, name, marked) end
  items[#items] = last
  return values.sequence(items), text
end

-- The rendered text up to the mark; without spaces before it where the template trims.
local function cut_at_mark(rendered, text, op)
  local bare, at, from = mark:sub(1, -2), nil, 1
  while true do
    local found = rendered:find(bare, from, true)
    if not found then break end
    at, from = found, found + 1
  end
  if not at or not rendered:find(strings.strip(text), 1, true) then
    raise("argument", op, "continue_final_message: the template leaves the last message out, or changes it")
  end
  local kept = rendered:sub(1, at - 1)
  return rendered:sub(at, at + #mark - 1) == mark and kept or strings.rstrip(kept)
end

--- Renders a template's source.
---@param source string Jinja
---@param messages table[]|string list of { role=, content=, … }, or the same as JSON text
---@param opts table|nil tok:chat's options but template=, and { special= { bos_token=… }, op=, strict= check role and content }
---@return string
function template.render(source, messages, opts)
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
  local continue, begun = opts.continue_final_message, nil
  if continue and opts.add_generation_prompt then
    raise("option", op, "continue_final_message goes on in the last message, add_generation_prompt begins a new one", "give one of them")
  end
  if continue then names.messages, begun = mark_final(names.messages, source, continue, op) end
  names.add_generation_prompt = not continue and opts.add_generation_prompt ~= false
  local text = jinja.render(source, names, { op = op, date = opts.date })
  return begun and cut_at_mark(text, begun, op) or text
end

-- Warns where messages come with what the template never reads: it would vanish in silence.
local function warn_unread(source, given, op)
  for _, name in ipairs { "tools", "documents" } do
    local list = given[name]
    if list ~= nil and not jinja.reads(source, name, op) then
      core.warn(("the chat template never reads %s: what was given is not in the prompt"):format(name), op)
    end
  end
end

--- The fields of a JSON object as a template sees them: the order of keys inside them is kept.
---@param object string|table|nil JSON text, or such a field
---@return table<string, any>
function template.fields(object)
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
function template.choose(sources, wanted, has_tools, op)
  if wanted then
    if sources[wanted] then return sources[wanted] end
    if wanted:find "{[{%%#]" then return wanted end
    local near = core.did_you_mean(wanted, names_of(sources))
    raise("option", op, ("option template: %s is neither a template of this tokenizer nor a Jinja source"):format(options.show(wanted)),
      near or next(sources) and "it has " .. table.concat(names_of(sources), ", ") or "it has none")
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
---@param opts table|nil { tools=, documents=, add_generation_prompt=true, continue_final_message=, template=, date=, variables= }
---@return string
function template.chat(tok, messages, opts)
  kinds.expect(tok, "Tokenizer", "chat")
  local o = options.check(opts, spec, "chat")
  local source = template.choose(tok.chat_templates, o.template, o.tools ~= nil, "chat")
  warn_unread(source, o, "chat")
  return template.render(source, messages, { tools = o.tools, documents = o.documents, add_generation_prompt = o.add_generation_prompt,
    continue_final_message = o.continue_final_message, special = special_names(tok), variables = o.variables, date = o.date, strict = true })
end

return template
