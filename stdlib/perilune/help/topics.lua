-- What `perilune help TOPIC` and `?TOPIC` say beside names: texts of topics/, and the tasks of pipelines.
local tasks = require "perilune.help.tasks"

local topics = {}

--- Topics, in the order in which they are listed.
topics.names = { "batches", "devices", "errors", "masks", "padding", "pictures", "pipelines", "policies", "progress", "quantization", "tasks", "windows" }

--- A topic's text, or a task's; nil for what is neither.
---@param name string
---@return string|nil
function topics.text(name)
  if name == "tasks" or name == "pipelines" then return tasks.overview() end
  for _, topic in ipairs(topics.names) do
    if topic == name then return (require("perilune.help.topics." .. name):gsub("%s+$", "")) end
  end
  return tasks.text(name)
end

--- The Lua in a text: lines that are indented by four spaces, and what lines that end in `--> TEXT` print.
---@param text string
---@return string code
---@return string[] prints
function topics.code(text)
  local code, prints = {}, {}
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local inner = line:match "^    (.*)$"
    code[#code + 1] = inner or ""
    if inner and inner:find("--> ", 1, true) then prints[#prints + 1] = inner:match "%-%-> (.*)$" end
  end
  return table.concat(code, "\n"), prints
end

return topics
