-- What could stand in a string that begins: values of options, axes, known models, tasks, paths of a model.
local core = require "perilune.core"
local catalogue = require "perilune.loaded.catalogue"
local documentation = require "perilune.help.documentation"
local place = require "perilune.session.place"
local tasks = require "perilune.help.tasks"
local weight_types = require "perilune.loaded.weight_types"

local string_words = {}

--- Stands for the paths of the model that is called, which are completed a component at a time.
string_words.paths = {}

local function devices()
  local words = { "auto" }
  for _, device in ipairs(core.devices()) do words[#words + 1] = device.name end
  return words
end

-- Texts in quotes of an option's description: its values.
local function values_in(text)
  local words = {}
  for word in text:gmatch '"([%w_%-:%.]+)"' do words[#words + 1] = word end
  return #words > 0 and words or nil
end

-- The values of an option of the call: `compute = "`.
local function option_values(entry, key)
  if key == "device" then return devices() end
  for _, param in ipairs(entry.params) do
    local class = param.type:match "(%u%w*Options)"
    for _, field in ipairs(class and documentation.of(class) or {}) do
      if field.member == key then return values_in(field.type .. " " .. field.text) end
    end
    local described = param.text:match("%f[%w_]" .. key .. "%s*=([^,}]*)")
    if described then return values_in(described) end
  end
  return nil
end

local function axes_of(tensor)
  local words = {}
  for i, axis in ipairs(tensor.shape) do words[i] = axis.name end
  return words
end

-- Stored names of a model's weights.
local function weight_names(m)
  local s = rawget(m, "state_")
  return s.checkpoint and s.checkpoint:names() or {}
end

local dtypes = { "f32", "f16", "bf16", "i32", "i64", "u8", "i8", "bool" }

local function dtypes_and_devices()
  local words = devices()
  table.remove(words, 1)   -- "auto"
  for _, dtype in ipairs(dtypes) do words[#words + 1] = dtype end
  return words
end

-- What a trace holds, by path.
local function paths_of(trace)
  local words = {}
  for path in trace:each() do words[#words + 1] = path end
  return words
end

local function with_files(words)
  words.files = true
  return words
end

local function task_names()
  local words = {}
  for _, task in ipairs(tasks.list) do
    words[#words + 1] = task.name
    for _, alias in ipairs(task.aliases or {}) do words[#words + 1] = alias end
  end
  return words
end

--- Words for a string that begins behind a text; `files` where files may stand there, too; nil for files alone.
---@param text string up to the quote
---@param stack table[] of place.open_places
---@return table|nil
function string_words.at(text, stack)
  local indexed = place.value_of(text:match "([%a_][%w_%.]*)%s*%[%s*$" or "")
  if indexed ~= nil and place.owner_name(indexed) == "Trace" then return paths_of(indexed) end
  local callee, in_table = place.open_call(text, stack)
  callee = text:match "([%a_][%w_%.:]*)%s*$" or callee
  if not callee then return nil end
  local object, member = callee:match "^([%w_%.]+):([%w_]+)$"
  local value = object and place.value_of(object)
  local owner = value ~= nil and place.owner_name(value)
  if owner == "Model" and (member == "trace" or member == "hook" or member == "patch") then return string_words.paths end
  if owner == "Model" and (member == "weight" or member == "set_weight") then return weight_names(value) end
  local key = in_table and text:match "([%a_][%w_]*)%s*=%s*[^,=]*$"
  local entry = place.entry_of(callee)
  if key then return entry and option_values(entry, key) end
  if owner == "Model" and member == "quantize" then return weight_types.names() end
  if member == "to" and (owner == "Tensor" or owner == "Model") then return owner == "Tensor" and dtypes_and_devices() or devices() end
  if owner == "Tensor" and member ~= "plot" then return axes_of(value) end
  if callee == "pl.load" then return with_files(catalogue.names()) end
  if callee == "pl.pipeline" then
    if text:find "pipeline%s*%(?%s*$" then return task_names() end
    return with_files(catalogue.names())
  end
  return nil
end

--- Options of a pipeline's task, where the text names it: `pl.pipeline("fill-mask", m, { `.
---@param text string
---@return string[]|nil
function string_words.task_options(text)
  local wanted = text:match "pl%.pipeline%s*%(%s*[\"']([%w%-]+)[\"'].*$"
  for _, task in ipairs(wanted and tasks.list or {}) do
    local known = task.name == wanted
    for _, alias in ipairs(task.aliases or {}) do known = known or alias == wanted end
    if known then
      local words = {}
      for _, list in ipairs { task.options or {}, tasks.common } do for _, option in ipairs(list) do words[#words + 1] = option[1] end end
      return words
    end
  end
  return nil
end

--- Options and models for a verb's arguments; nil where there is no such verb.
---@param name string
---@param typed string the word that begins
---@return string[]|nil
function string_words.of_verb(name, typed)
  local commands = require "perilune.commands"
  local fine, verb = pcall(commands.get, name)
  if not fine then return nil end
  if typed:sub(1, 1) ~= "-" then return catalogue.names() end
  local words = { "--help" }
  for option in pairs(verb.options or {}) do words[#words + 1] = "--" .. option end
  return words
end

return string_words
