-- A line that calls a function, for `?name` where its own description has none: of what a family's pass calls, a line of a
-- family; else taken from the Lua of other descriptions, topics and tasks. Tests run them all. Else from its parameters.
local core = require "perilune.core"
local documentation = require "perilune.help.documentation"
local tasks = require "perilune.help.tasks"
local topics = require "perilune.help.topics"

local examples = {}

local cached

-- Every line of Lua that is told anywhere, once.
local function lines()
  if cached then return cached end
  cached = {}
  local function add(text)
    for line in (text .. "\n"):gmatch "(.-)\n" do
      local code = line:match "^    (%S.*)$"
      if code and not code:find "^%-%-" then cached[#cached + 1] = code end
    end
  end
  for _, entry in ipairs(documentation.all().list) do add(entry.text) end
  for _, name in ipairs(topics.names) do add(topics.text(name)) end
  for _, task in ipairs(tasks.list) do add("    " .. task.example:gsub("\n", "\n    ")) end
  return cached
end

-- Files whose passes call what a scope has.
local pass_files = { "llama", "gpt2", "gemma2", "t5", "encoder_layers", "bert", "whisper", "clip", "tower_layers", "two_towers", "vit", "bart" }

-- The shortest call of a scope's member in a family, or nil.
local function in_families(member)
  local found
  for _, name in ipairs(pass_files) do
    local source = core.stdlib_source("stdlib/perilune/models/" .. name .. ".lua")
    for call in source:gmatch("[%a_]+:" .. member .. "%b()") do
      if not call:find "\n" and (not found or #call < #found) then found = call end
    end
  end
  return found
end

-- What stands for a value of a type in a call that is made up.
local stands_for = { { "string%[%]", '{ "a", "b" }' }, { "string", '"text"' }, { "integer", "1" }, { "number", "0.5" }, { "boolean", "true" },
  { "fun", "function(...) end" }, { "function", "function(...) end" }, { "table", "{}" } }

local function argument(param)
  for _, pair in ipairs(stands_for) do if param.type:find(pair[1]) then return pair[2] end end
  return param.name
end

local receivers = { Model = "m", Tensor = "t", Tokenizer = "tok", Engine = "e", Pipeline = "p", Batch = "b", Result = "r" }

local function from_parameters(entry)
  local arguments = {}
  for _, param in ipairs(entry.params) do
    if param.type:find("nil", 1, true) or param.name:find "%?$" then break end
    arguments[#arguments + 1] = argument(param)
  end
  local receiver = entry.kind == "method" and (receivers[entry.owner] or entry.owner:sub(1, 1):lower() .. entry.owner:sub(2)) .. ":" .. entry.member
    or entry.name
  return receiver .. "(" .. table.concat(arguments, ", ") .. ")"
end

--- A line of Lua that calls it.
---@param entry table of documentation.all()
---@return string
function examples.of(entry)
  local pass = entry.owner == "Net" and entry.kind == "method" and in_families(entry.member)
  if pass then return pass end
  local call = entry.kind == "method" and "[:]" .. entry.member .. "%f[^%w_]" or "%f[%w_]" .. entry.name:gsub("%.", "%%.") .. "%f[^%w_]"
  for _, line in ipairs(lines()) do
    local _, stop = line:find(call)
    if stop and line:find("^%s*[%(\"{'%[]", stop + 1) then return line end
  end
  return from_parameters(entry)
end

return examples
