-- docs/reference.md: every public name, from the library's own comments.
local documentation = require "perilune.help.documentation"
local command_line = require "perilune.program.command_line"
local tasks = require "perilune.help.tasks"
local topics = require "perilune.help.topics"

local documentation_page = {}

local head = [[
# Perilune: reference

Written by `perilune scripts/make_reference.lua` from the comments in `stdlib/perilune/`; a test holds it
to them. In a session, `?NAME` prints the same text.

A `table` of options may be left out; an unknown key raises with the nearest known one. Positions are
counted from 1, ids from 0. Indented lines are Lua that a test runs; what stands behind `-->` is printed.
]]

-- Order of the sections that are not alphabetical: what scripts hold most, first.
local sections = { "Model", "Result", "Score", "Stream", "Trace", "Cache", "Engine", "Request", "Event", "QueueEntry", "Room", "Plan", "State", "Error",
  "Pipeline", "Tokenizer", "Decoder", "Batch", "Tensor", "LoadOptions", "GenerateOptions", "Net" }

local function anchor(title) return (title:lower():gsub("[^%w%- ]", ""):gsub(" ", "-")) end

local function type_text(text)
  local class = text:match "^(%u%w*Options)"
  if class then return ("[%s](#%s)"):format(class, anchor(class)) .. (text:find("nil", 1, true) and ", may be left out" or "") end
  return "`" .. text .. "`"
end

local function function_lines(lines, entry)
  lines[#lines + 1] = "### " .. documentation.signature(entry):gsub("^%S+%b()", "`%0`")
  lines[#lines + 1] = ""
  if entry.text ~= "" then
    lines[#lines + 1] = entry.text
    lines[#lines + 1] = ""
  end
  for _, param in ipairs(entry.params) do
    lines[#lines + 1] = ("- `%s` %s%s"):format(param.name, type_text(param.type), param.text ~= "" and ": " .. param.text or "")
  end
  for _, text in ipairs(entry.returns) do
    lines[#lines + 1] = "- returns " .. text:gsub("^(%S+)", "`%1`", 1)
  end
  if #entry.params + #entry.returns > 0 then lines[#lines + 1] = "" end
end

local function owner_lines(lines, owner)
  local fields, functions = {}, {}
  for _, entry in ipairs(documentation.of(owner)) do
    local list = entry.kind == "field" and fields or functions
    list[#list + 1] = entry
  end
  for _, field in ipairs(fields) do
    lines[#lines + 1] = ("- `%s` `%s`%s"):format(field.member, field.type, field.text ~= "" and ": " .. field.text or "")
  end
  if #fields > 0 then lines[#lines + 1] = "" end
  for _, entry in ipairs(functions) do function_lines(lines, entry) end
end

-- The sections of types: the known order, then whatever is new.
local function class_order()
  local listed, order = {}, {}
  for _, name in ipairs(sections) do
    if documentation.all().by_name[name] then
      order[#order + 1] = name
      listed[name] = true
    end
  end
  for _, name in ipairs(documentation.classes()) do if not listed[name] then order[#order + 1] = name end end
  return order
end

-- What pl.pipeline's tasks take and give.
local function task_lines(lines)
  lines[#lines + 1] = "## Tasks\n"
  lines[#lines + 1] = "What `pl.pipeline(task, model, options)` takes and gives; `perilune help TASK` says the same. Every task takes these"
  lines[#lines + 1] = "options, too:\n"
  for _, option in ipairs(tasks.common) do lines[#lines + 1] = ("- `%s`: %s"):format(option[1], option[2]) end
  for _, task in ipairs(tasks.list) do
    lines[#lines + 1] = ("\n### %s\n"):format(task.name)
    local other = task.aliases and (" Also called %s."):format(table.concat(task.aliases, ", ")) or ""
    lines[#lines + 1] = ("%s, with the head %s.%s\n"):format(task.what:gsub("^%l", string.upper), task.heads, other)
    lines[#lines + 1] = "- input: " .. task.input
    lines[#lines + 1] = "- answer: " .. task.answer
    for _, option in ipairs(task.options) do lines[#lines + 1] = ("- `%s`: %s"):format(option[1], option[2]) end
    if task.more then lines[#lines + 1] = "- " .. task.more end
    lines[#lines + 1] = "\n" .. tasks.code(task)
  end
  lines[#lines + 1] = ""
end

-- What `perilune help TOPIC` says.
local function topic_lines(lines)
  lines[#lines + 1] = "## Topics\n"
  for _, name in ipairs(topics.names) do
    if name ~= "tasks" and name ~= "pipelines" then
      local title, rest = topics.text(name):match "^([^\n]*)\n(.*)$"
      lines[#lines + 1] = ("### %s\n%s\n"):format(title, rest)
    end
  end
end

local function verb_lines(lines, verbs)
  lines[#lines + 1] = "## Verbs\n"
  lines[#lines + 1] = "`perilune` alone is a session, `perilune FILE.lua ARGS…` runs a script, `perilune -e CODE ARGS…` a line of Lua,"
  lines[#lines + 1] = "`perilune -` what standard input holds. Exit status 0, 1 (it failed), 2 (wrong usage), 130 (interrupted).\n"
  for _, name in ipairs(verbs.names) do
    lines[#lines + 1] = "```\n" .. command_line.help_text(name, verbs.get(name)) .. "```\n"
  end
end

--- The page.
---@param verbs table the program's: names, get
---@return string
function documentation_page.text(verbs)
  local lines, order = { head }, class_order()
  local contents = {}
  for _, owner in ipairs(documentation.owners) do contents[#contents + 1] = ("[%s](#%s)"):format(owner, anchor(owner)) end
  for _, name in ipairs(order) do contents[#contents + 1] = ("[%s](#%s)"):format(name, anchor(name)) end
  for _, title in ipairs { "Tasks", "Topics", "Verbs" } do contents[#contents + 1] = ("[%s](#%s)"):format(title, anchor(title)) end
  lines[#lines + 1] = table.concat(contents, " · ") .. "\n"
  for _, owner in ipairs(documentation.owners) do
    lines[#lines + 1] = "## " .. owner .. "\n"
    if owner == "pl" then lines[#lines + 1] = 'What `local pl = require "perilune"` gives.\n' end
    owner_lines(lines, owner)
  end
  for _, name in ipairs(order) do
    lines[#lines + 1] = "## " .. name .. "\n"
    local class = documentation.all().by_name[name]
    if class.text ~= "" then lines[#lines + 1] = class.text .. "\n" end
    owner_lines(lines, name)
  end
  task_lines(lines)
  topic_lines(lines)
  verb_lines(lines, verbs)
  return (table.concat(lines, "\n"):gsub("\n\n\n+", "\n\n"):gsub("%s+$", "") .. "\n")
end

return documentation_page
