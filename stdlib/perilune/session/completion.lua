-- What could stand at the end of a line: names, methods, option keys, axes, paths, files.
local core = require "perilune.core"
local documentation = require "perilune.help.documentation"
local place = require "perilune.session.place"

local completion = {}

local keywords = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not",
  "or", "repeat", "return", "then", "true", "until", "while" }

local function starts_with(word, start) return word:sub(1, #start) == start end

-- Sorted, without doubles, only what starts as typed.
local function matching(words, start)
  local seen, list = {}, {}
  for _, word in ipairs(words) do
    if starts_with(word, start) and not seen[word] then
      seen[word] = true
      list[#list + 1] = word
    end
  end
  table.sort(list)
  return list
end

local function is_name(key) return type(key) == "string" and key:find "^[%a_][%w_]*$" and not key:find "_$" and not key:find "^__" end

-- Names in a value: `methods` only functions that take it, else fields (and functions of a table).
local function members_of(value, methods)
  local names = {}
  if type(value) == "string" then
    if methods then for name in pairs(string) do names[#names + 1] = name end end
    return names
  end
  if type(value) == "userdata" then
    local types = core.types()[core.type(value) or ""]
    return types and types[methods and "methods" or "fields"] or names
  end
  if type(value) ~= "table" then return names end
  local meta = getmetatable(value)
  for key, one in pairs(value) do
    if is_name(key) and (not methods or type(one) == "function") then names[#names + 1] = key end
  end
  if type(meta) ~= "table" then return names end
  if type(rawget(meta, "names")) == "function" then for _, name in ipairs(meta.names()) do names[#names + 1] = name end end
  if rawget(meta, "__name") then
    for key, one in pairs(meta) do if methods and is_name(key) and type(one) == "function" then names[#names + 1] = key end end
    local class = meta.__name
    for _, entry in ipairs(documentation.of(class)) do
      if entry.kind == (methods and "method" or "field") then names[#names + 1] = entry.member end
    end
  end
  return names
end

-- Files and folders that continue a typed path.
local function file_words(typed)
  local folder, start = typed:match "^(.*/)([^/]*)$"
  folder, start = folder or "", start or typed
  local words = {}
  local fine, names = pcall(core.list_directory, folder == "" and "." or folder)
  if not fine then return words end
  for _, name in ipairs(names) do
    if starts_with(name, start) and (start ~= "" or name:sub(1, 1) ~= ".") then
      local path = folder .. name
      words[#words + 1] = core.folder_exists(path) and path .. "/" or path
    end
  end
  return words
end

-- Canonical paths, a component at a time: "layers." then "layers.0.", "layers.*." …
local function path_words(model, typed)
  local words = {}
  local fine, paths = pcall(model.paths, model)
  if not fine then return words end
  local function add(path)
    if not starts_with(path, typed) then return end
    local stop = path:find(".", #typed + 1, true)
    words[#words + 1] = stop and path:sub(1, stop) or path
  end
  for _, path in ipairs(paths) do
    add(path)
    add((path:gsub("%.%d+", ".*")))
  end
  return words
end

local function in_string(text, quote, stack)
  local typed, start = text:sub(quote.at + 1), quote.at + 1
  local callee = place.open_call(text:sub(1, quote.at - 1), stack) or text:sub(1, quote.at - 1):match "([%a_][%w_%.:]*)%s*$"
  local object, member = (callee or ""):match "^([%w_%.]+):([%w_]+)$"
  if member == "trace" or member == "hook" then
    local model = place.value_of(object)
    if place.owner_name(model) == "Model" then return start, matching(path_words(model, typed), typed) end
  end
  return start, matching(file_words(typed), typed)
end

-- Keys of the braces that the cursor is in: axes, or options.
local function in_braces(text, stack)
  local start, typed = text:match "()([%a_]?[%w_]*)$"
  if not text:sub(1, start - 1):match "[{,]%s*$" then return nil end
  local callee, in_table = place.open_call(text, stack)
  if not callee or not in_table then return nil end
  local object, member = callee:match "^([%w_%.]+):([%w_]+)$"
  if member == "at" or member == "set" or member == "rename" then
    local tensor = place.value_of(object)
    local words = {}
    if place.owner_name(tensor) == "Tensor" then
      for i, axis in ipairs(tensor.shape) do words[i] = axis.name end
    end
    return start, matching(words, typed), " = "
  end
  local entry = place.entry_of(callee)
  if not entry then return nil end
  local words = matching(documentation.option_keys(entry), typed)
  if #words == 0 then return nil end
  return start, words, " = "
end

local function command_words(text)
  return 2, matching(require("perilune.session.session_commands").names(), text:sub(2)), " "
end

local function global_words(session)
  local words = {}
  for name in pairs(_G) do if is_name(name) or name == "_G" then words[#words + 1] = name end end
  for _, word in ipairs(keywords) do words[#words + 1] = word end
  if session == "help" then
    for _, name in ipairs(documentation.classes()) do words[#words + 1] = name end
  end
  return words
end

-- "m:gen", "pl.lo", "tab": a chain of names.
local function in_chain(text, scope)
  local start, chain = text:match "()([%a_][%w_%.:]*)$"
  if not chain then return #text + 1, {} end
  local object, separator, member = chain:match "^(.*)([%.:])([%w_]*)$"
  if not object then return start, matching(global_words(scope), chain) end
  local words
  local value = place.value_of(object)
  if value ~= nil then
    words = members_of(value, separator == ":")
  else
    words = {}
    for _, entry in ipairs(documentation.of(object)) do
      if (entry.kind == "method") == (separator == ":") then words[#words + 1] = entry.member end
    end
  end
  return start + #object + 1, matching(words, member)
end

--- Words that could stand at the end of a line.
---@param text string the line up to the cursor
---@return integer start where the word starts that they complete
---@return string[] words sorted
---@return string|nil suffix what follows when there is one
function completion.complete(text)
  if text:find "^:[%w_]*$" then return command_words(text) end
  local question = text:match "^%?+%s*"
  if question then return in_chain(text, "help") end
  local load = text:match "^:load%s+()"
  if load then return load, matching(file_words(text:sub(load)), text:sub(load)) end
  local command = text:match "^:%a+%s+()"
  if command and not text:find "^:time" then
    local start = text:match "()%S*$"
    return start, matching(file_words(text:sub(start)), text:sub(start))
  end
  local stack, quote = place.open_places(text)
  if quote then return in_string(text, quote, stack) end
  if #stack > 0 then
    local start, words, suffix = in_braces(text, stack)
    if start then return start, words, suffix end
  end
  return in_chain(text)
end

return completion
