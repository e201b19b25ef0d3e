-- What the pipelines that write text share: options of generation beside their own, one prompt an
-- input, the Result of m:generate as the answer.
local generation = require "perilune.serve.generation"
local rules = require "perilune.serve.generation_rules"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local generating = {}

--- A task that generates. `prompt(p, input)` gives what m:generate takes for one input;
--- `add_stops(p, options)` says what ends an answer beside the model's own ids.
---@param t table { heads=, head=, spec=, prompt=, add_stops= }
---@return table task
function generating.task(t)
  local task = { heads = t.heads, head = t.head, prepare = t.prepare, takes_list = t.takes_list, spec = {}, own_spec = t.spec or {}, whole_list = true }
  for key, wanted in pairs(generation.spec) do task.spec[key] = wanted end
  for key, wanted in pairs(t.spec or {}) do task.spec[key] = wanted end
  task.spec.truncate = "string|boolean"

  local function own_options(p)
    local own = {}
    for key in pairs(generation.spec) do own[key] = p.options[key] end
    for key, value in pairs(p.defaults_ or {}) do if own[key] == nil then own[key] = value end end
    for key, fault in pairs(p.wrong_ or {}) do
      if own[key] == nil then raise("option", p.task, fault.text, ("give %s yourself, or mend the file"):format(key)) end
    end
    local truncate = p.options.truncate
    if truncate == "model" or truncate == true then own.context = "truncate_left" end
    if type(truncate) == "string" and truncate ~= "model" then
      raise("option", p.task, 'option truncate: expected "model", got ' .. options.show(truncate))
    end
    return own
  end

  function task.begin(p, input)
    local ids, own = t.prompt(p, input), own_options(p)
    if t.add_stops then t.add_stops(p, own) end
    return { rows = { { generate = { ids = ids, options = own } } } }
  end

  function task.finish(_, _, job) return job.results[1] end
  return task
end

--- A text, checked.
---@param p Pipeline
---@param input any
---@return string
function generating.text(p, input)
  if type(input) ~= "string" then raise("argument", p.task, "expected a text, got " .. options.show(input)) end
  return input
end

--- What config.json's task_specific_params says of a task: a prefix for the text, and defaults.
---@param p Pipeline
---@param matches fun(name: string): boolean
function generating.task_parameters(p, matches)
  local all = p.model.config.task_specific_params
  if type(all) ~= "table" then return end
  for name, parameters in pairs(all) do
    if matches(name) and type(parameters) == "table" then
      p.prefix_ = parameters.prefix
      p.defaults_, p.wrong_ = rules.read(parameters, "config.json: task_specific_params: " .. name)
    end
  end
end

return generating
