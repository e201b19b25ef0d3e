-- What could stand at the end of a line: names, methods, option keys, axes, paths, files.
local core = require "perilune.core"
local documentation = require "perilune.help.documentation"
local place = require "perilune.session.place"
local path_words = require "perilune.session.path_words"
local string_words = require "perilune.session.string_words"
local topics = require "perilune.help.topics"

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

local function in_string(text, quote, stack)
  local typed, start = text:sub(quote.at + 1), quote.at + 1
  local words = string_words.at(text:sub(1, quote.at - 1), stack)
  if words == string_words.paths then
    local callee = place.open_call(text:sub(1, quote.at - 1), stack) or text:sub(1, quote.at - 1):match "([%a_][%w_%.:]*)%s*$"
    return start, matching(path_words(place.value_of(callee:match "^[^:]*"), typed), typed)
  end
  local closing = text:sub(quote.at, quote.at)
  if words and not words.files then return start, matching(words, typed), closing end
  local list = file_words(typed)
  for _, word in ipairs(words or {}) do list[#list + 1] = word end
  return start, matching(list, typed)
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
  local keys = callee == "pl.pipeline" and string_words.task_options(text) or documentation.option_keys(entry)
  local words = matching(keys, typed)
  if #words == 0 then return nil end
  return start, words, " = "
end

local function command_words(text)
  return 2, matching(require("perilune.session.session_commands").names(), text:sub(2)), " "
end

local function global_words(scope)
  local words = {}
  for name in pairs(_G) do if is_name(name) or name == "_G" then words[#words + 1] = name end end
  for _, word in ipairs(keywords) do words[#words + 1] = word end
  if place.scope and place.scope.names then for _, name in ipairs(place.scope.names()) do words[#words + 1] = name end end
  if scope == "help" then
    for _, list in ipairs { documentation.classes(), topics.names } do for _, name in ipairs(list) do words[#words + 1] = name end end
  end
  return words
end

-- Members of a type by its description: of calls' results, of names of types.
local function described(owner, methods)
  local words = {}
  for _, entry in ipairs(documentation.of(owner)) do
    if (entry.kind == "method") == methods then words[#words + 1] = entry.member end
  end
  return words
end

-- "m:gen", "pl.lo", "tab", "m:forward('x').lo": a chain of names, or what a call gives.
local function in_chain(text, scope)
  local start, object, separator, member = text:match "^.-()([%a_][%w_%.]*)([%.:])([%a_]?[%w_]*)$"
  if not object then
    local word = text:match "()[%a_]?[%w_]*$"
    local before = text:sub(1, word - 1)
    if before:find "[%.:]$" then
      local owner, call = place.type_of(before:sub(1, -2))
      local words = owner and described(owner, before:sub(-1) == ":") or call and documentation.result_keys(call) or {}
      return word, matching(words, text:sub(word))
    end
    if word > #text then return word, {} end
    return word, matching(global_words(scope), text:sub(word))
  end
  start = start + #object + 1
  local value = not text:sub(1, start - #object - 2):find "[%.:%)%]}]$" and place.value_of(object) or nil
  if value ~= nil then return start, matching(members_of(value, separator == ":"), member) end
  local owner = place.type_of(text:sub(1, start - 2)) or object
  return start, matching(described(owner, separator == ":"), member)
end

-- What follows a command's name.
local function command_argument(text, session)
  local name, rest = text:match "^:(%a+)%s+()"
  if not name then return nil end
  local start = text:match "()%S*$"
  local typed = text:sub(start)
  local row = require("perilune.session.session_commands").find(name)
  if row and name ~= "bench" then
    if row.complete == "file" then return rest, matching(file_words(text:sub(rest)), text:sub(rest)) end
    if row.complete == "name" then return in_chain(text, "help") end
    if type(row.complete) == "function" then return start, matching(row.complete(typed, text:sub(rest), session), typed) end
    return nil
  end
  local words = string_words.of_verb(name, typed)
  if not words then return nil end
  for _, word in ipairs(file_words(typed)) do words[#words + 1] = word end
  return start, matching(words, typed)
end

--- Words that could stand at the end of a line.
---@param text string the line up to the cursor
---@param session table|nil whose stop's names count
---@return integer start where the word starts that they complete
---@return string[] words sorted
---@return string|nil suffix what follows when there is one
function completion.complete(text, session)
  place.scope = session and session.scopes and session.scopes[#session.scopes] or nil
  if text:find "^:[%w_]*$" then return command_words(text) end
  if text:find "^%?" then return in_chain(text, "help") end
  local start, words = command_argument(text, session)
  if start and #words > 0 then return start, words end
  local stack, quote = place.open_places(text)
  if quote then return in_string(text, quote, stack) end
  if #stack > 0 then
    local suffix
    start, words, suffix = in_braces(text, stack)
    if start then return start, words, suffix end
  end
  return in_chain(text)
end

return completion
