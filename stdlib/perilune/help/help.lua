-- What a name does, as text: for `?name` in a session and `perilune help NAME`.
local core = require "perilune.core"
local documentation = require "perilune.help.documentation"
local topics = require "perilune.help.topics"
local kind = require "perilune.base.kind"
local examples = require "perilune.help.examples"
local meanings = require "perilune.help.meanings"
local tasks = require "perilune.help.tasks"

local help = {}

local function wrapped(left, text)
  return text == "" and left or left .. "  " .. text
end

-- An options type's fields, or a parameter's own text.
local function param_lines(lines, entry)
  for _, param in ipairs(entry.params) do
    lines[#lines + 1] = wrapped(("  %-12s %s"):format(param.name, param.type), param.text)
    local class = param.type:match "(%u%w*Options)"
    if class then
      for _, field in ipairs(documentation.of(class)) do
        lines[#lines + 1] = wrapped(("    %-22s %s"):format(field.member, field.type), field.text)
      end
    end
  end
end

local function entry_text(entry)
  local lines = { documentation.signature(entry) }
  if entry.text ~= "" then lines[#lines + 1] = entry.text end
  if entry.kind ~= "field" and not ("\n" .. entry.text):find "\n%s%s%s%s" then
    local example = examples.of(entry)
    if example then lines[#lines + 1] = "\n    " .. example end
  end
  if #entry.params > 0 then
    lines[#lines + 1] = ""
    param_lines(lines, entry)
  end
  for i, text in ipairs(entry.returns) do
    if i == 1 and #entry.params == 0 then lines[#lines + 1] = "" end
    lines[#lines + 1] = "  → " .. text
  end
  return table.concat(lines, "\n")
end

local function first_sentence(text)
  text = text:gsub("%s+", " ")
  return text:match "^(.-[^.]%.) " or text
end

-- A type, or a table of functions: a line for each member.
local function overview(name, entry)
  local lines = { name }
  if entry and entry.text ~= "" then lines[#lines + 1] = entry.text end
  for _, member in ipairs(documentation.of(name)) do
    local left = member.kind == "field" and member.member .. ": " .. member.type or member.name .. member.arguments
    lines[#lines + 1] = wrapped(("  %-44s"):format(left), first_sentence(member.text))
  end
  return table.concat(lines, "\n")
end

-- `m` of "m:generate" as a type's name, when the session knows it.
local function owner_of(word, session)
  if word == "pl" then return "pl" end
  local value = session and (rawget(_G, word))
  if value == nil then return nil end
  local name = kind.of(value) or (type(value) == "userdata" and core.type(value))
  if value == rawget(_G, "pl") and value ~= nil then name = "pl" end
  return name or nil
end

--- Entries that a name may mean: exact ones, else those whose member or words it is.
---@param name string "pl.load", "m:generate", "Tensor", "softmax", …
---@param session table|nil whose globals count as names
---@return table[]
function help.find(name, session)
  local all = documentation.all()
  if all.by_name[name] then return { all.by_name[name] } end
  local owner, member = name:match "^([%w_%.]+)[%.:]([%w_]+)$"
  if owner then
    local class = owner_of(owner, session) or owner
    local exact = all.by_name[class .. ":" .. member] or all.by_name[class .. "." .. member]
    if exact then return { exact } end
  end
  local class = owner_of(name, session)
  if class and all.by_name[class] then return { all.by_name[class] } end
  local found = {}
  for _, entry in ipairs(all.list) do
    if entry.member == (member or name) then found[#found + 1] = entry end
  end
  return found
end

-- Entries whose name and text hold every word.
local function mentions(words)
  local found = {}
  for _, entry in ipairs(documentation.all().list) do
    local text, all = (entry.name .. " " .. entry.text):lower(), entry.kind ~= "class"
    for word in words:lower():gmatch "%S+" do all = all and text:find(word, 1, true) end
    if all then found[#found + 1] = entry end
  end
  return found
end

local function nothing(name)
  local names = { unpack(topics.names) }
  for _, owner in ipairs(documentation.owners) do names[#names + 1] = owner end
  for _, entry in ipairs(documentation.all().list) do
    names[#names + 1] = entry.name
    if entry.member then names[#names + 1] = entry.member end
  end
  local near = core.nearest(name, names)
  return "nothing is called " .. name .. (near and "; did you mean " .. near .. "?" or "")
end

local list_text

-- What a word of somewhere else is called here, a line each; nil for a word that nobody brings along.
local function meant(name, session)
  local lines = {}
  for one in (meanings[name:lower()] or ""):gmatch "%S+" do
    local entries = help.find((one:gsub("^m:", "Model:")), session)
    local what = one:sub(1, 1) == ":" and "a command of sessions" or nil
    for _, task in ipairs(tasks.list) do if task.name == one then what = "pl.pipeline: " .. task.what end end
    if not what and #entries == 0 then what = first_sentence(topics.text(one):gsub("^.-\n\n", "")) end
    lines[#lines + 1] = what and ("%-44s  %s"):format(one, what) or list_text { entries[1] }
  end
  return lines[1] and "nothing is called " .. name .. "; what is near it here:\n" .. table.concat(lines, "\n") or nil
end

function list_text(entries)
  local lines = {}
  for i, entry in ipairs(entries) do
    if i > 30 then
      lines[#lines + 1] = ("… %d more"):format(#entries - 30)
      break
    end
    lines[i] = wrapped(("%-44s"):format(entry.name .. (entry.arguments or "")), first_sentence(entry.text))
  end
  return table.concat(lines, "\n")
end

--- What is known about a name; what is near when nothing is.
---@param name string "" for what there is
---@param session table|nil
---@return string
function help.text(name, session)
  if name == "" then
    return "?NAME explains a name: ?pl, ?pl.load, ?generate, ?Tensor. Types: " .. table.concat(documentation.classes(), ", ")
      .. "\nTopics: " .. table.concat(topics.names, ", ")
  end
  local topic = not (session and rawget(_G, name) ~= nil) and topics.text(name)
  if topic then return topic end
  for _, owner in ipairs(documentation.owners) do if name == owner then return overview(name) end end
  local found = help.find(name, session)
  if #found == 0 then
    local near = meant(name, session)
    if near then return near end
    local said = mentions(name)
    if #said == 0 then return nothing(name) end
    return "nothing is called " .. name .. "; it is spoken of in\n" .. list_text(said)
  end
  if #found == 1 then
    return found[1].kind == "class" and overview(found[1].name, found[1]) or entry_text(found[1])
  end
  local texts = {}
  for i, entry in ipairs(found) do texts[i] = entry_text(entry) end
  return #found > 3 and list_text(found) or table.concat(texts, "\n\n")
end

local most_lines = 200  -- of a source

-- A function's text: from its line to the `end` that stands as far to the left, with the comment in front of it.
local function source_text(text, number)
  local lines, at = {}, 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    at = at + 1
    lines[at] = line
  end
  local indentation = (lines[number] or ""):match "^%s*"
  local last = number
  if not lines[number]:find "%f[%a]end%)*,?%s*$" then
    while last < #lines and last < number + most_lines do
      last = last + 1
      if lines[last]:find("^" .. indentation .. "end%f[^%w_]") or lines[last]:find("^" .. indentation .. "%f[%S]%-%-%-@%a+") then break end
    end
  end
  local first = number
  while first > 1 and lines[first - 1]:find "^%s*%-%-" do first = first - 1 end
  return table.concat(lines, "\n", first, last)
end

-- The text of a file of the library, or of the script's.
local function text_of(file)
  local name = file:gsub("^@", "")
  local fine, text = pcall(core.stdlib_source, name)
  if fine and text then return text end
  fine, text = pcall(core.read_file, name)
  return fine and text or nil
end

local function function_source(f, session)
  local info = debug.getinfo(f, "S")
  if info.what == "C" then return nil end
  local input = tonumber(info.short_src:match "^%[(%d+)%]$")
  local text = input and "" or text_of(info.source)
  for _, one in ipairs(input and session.inputs or {}) do if one.number == input then text = one.text end end
  local where = ("%s:%d"):format(info.short_src, info.linedefined)
  return where .. (text and text ~= "" and "\n" .. source_text(text, info.linedefined) or "")
end

--- The source of a name, with file and line.
---@param name string
---@param session table|nil
---@return string
function help.source(name, session)
  local value = session and rawget(_G, name)
  local own = type(value) == "function" and function_source(value, session)
  if own then return own end
  local lines = {}
  for _, entry in ipairs(help.find(name, session)) do
    local built_in = entry.file:find "/types/" and " (description; it is built in)" or ""
    lines[#lines + 1] = ("%s  %s:%d%s"):format(entry.name, entry.file, entry.line, built_in)
    local text = built_in == "" and entry.kind ~= "field" and text_of(entry.file)
    if text then lines[#lines + 1] = source_text(text, entry.line) end
  end
  return #lines > 0 and table.concat(lines, "\n") or nothing(name)
end

return help
