-- pl.pipeline: a task over a model, from raw inputs to answers. A task is a file in
-- perilune/pipelines/ that says which rows an input becomes and what their outputs mean; here they are
-- run, ragged and batched by a policy, so that how inputs were batched cannot matter.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"
local stage = require "perilune.pipelines.stage"
local each = require "perilune.pipelines.each"
local progress = require "perilune.base.progress"

local pipeline = {}

-- Task → its file.
local files = {
  ["text-generation"] = "text_generation", chat = "chat", ["text-classification"] = "text_classification",
  ["token-classification"] = "token_classification", ["question-answering"] = "question_answering",
  ["fill-mask"] = "fill_mask", ["zero-shot-classification"] = "zero_shot_classification",
  ["feature-extraction"] = "feature_extraction", ["sentence-similarity"] = "sentence_similarity",
  ["automatic-speech-recognition"] = "automatic_speech_recognition",
  ["image-classification"] = "image_classification", ["image-feature-extraction"] = "image_feature_extraction",
  ["zero-shot-image-classification"] = "zero_shot_image_classification",
  summarization = "summarization", translation = "translation", ["text2text-generation"] = "text2text_generation",
}
-- Other published names of the same.
local aliases = { ["sentiment-analysis"] = "text-classification", ner = "token-classification" }

local function task_of(name)
  name = aliases[name] or name
  if files[name] then return require("perilune.pipelines." .. files[name]), name end
  local names = names_of(files)
  local near = type(name) == "string" and core.nearest(name, names)
  return raise("argument", "pipeline", "no task is called " .. options.show(name),
    (near and ("did you mean %q? "):format(near) or "") .. "tasks: " .. table.concat(names, ", "))
end

---@class Pipeline
---@field task string its name, such as "fill-mask"
---@field model Model what it runs
---@field tokenizer Tokenizer|nil the model's; models of pictures may have none
---@field options table as pl.pipeline was given them
local Pipeline = { __name = "Pipeline" }

-- Its own fields end with "_" and may be absent; so may the tokenizer of a model of pictures.
function Pipeline.__index(_, key)
  local found = Pipeline[key]
  if found ~= nil or key == "tokenizer" or type(key) == "string" and key:find "_$" then return found end
  return raise("argument", "pipeline", "a Pipeline has no field or method " .. options.show(key),
    "it is called, p(input) or p { inputs }; p:each(iterator) goes through many")
end

local function check_head(task, name, m)
  for _, head in ipairs(task.heads) do if head == m.head then return end end
  local s = rawget(m, "state_")
  for _, head in ipairs(task.heads) do
    if s.family.heads[head] then
      raise("argument", "pipeline", ("%s needs the head %s, the model was loaded with %s"):format(name, table.concat(task.heads, " or "), m.head),
        ('load it with head="%s", if its weights are in the file'):format(head))
    end
  end
  raise("argument", "pipeline", ("%s needs the head %s, family %s has none"):format(name, table.concat(task.heads, " or "), m.family))
end

local window_size = 256   -- inputs whose rows and outputs are held at once

-- Answers to a list, each a value or nil and an error: a window at a time, so that memory stays bounded.
-- Generating shares its steps among all.
local function answers(p, list, tick)
  local at, values, errors = 0, {}, {}
  local whole = p.task_.whole_list or p.task_.at_once
  local function on_work(run)   -- of one input its own units, of several how many are done
    local done, total = run:oldest_progress()
    if #list == 1 then tick(done or 0, total) else tick(run:progress(), #list) end
  end
  local run = each.run(p, function()
    at = at + 1
    return list[at]
  end, { window = whole and math.max(1, #list) or window_size, policy = p.policy_, count = #list, on_work = on_work })
  for i = 1, #list do
    local _, value, err = run:next()
    values[i], errors[i] = value, err
    if not p.task_.at_once then tick(i, #list) end
  end
  run:next()
  return values, errors
end

--- One input, one answer; a list, a list in the same order, in which an input that failed is
--- `{ error= }`.
---@param input any what the task takes, or a list of them
---@param more nil options are pl.pipeline's: they hold for every input
---@return any
function Pipeline:__call(input, more)
  kind.expect(self, "Pipeline", "pipeline")
  if more ~= nil then
    raise("argument", self.name_, "one argument is taken, an input or a list of them; got " .. options.show(more) .. " too",
      ("options are given when a pipeline is made: pl.pipeline(%q, model, { … })"):format(self.name_))
  end
  if input == nil then raise("argument", self.name_, "expected an input or a list of them, got nil") end
  local many = kind.is_list(input) and not (self.task_.takes_list and self.task_.takes_list(input))
  local list = many and kind.whole(input, self.name_, "inputs") or { input }
  local values, errors = progress.during(self.name_, self.options.on_progress, function(tick) return answers(self, list, tick) end,
    #list == 1 and self.task_.unit or nil)
  if not many and errors[1] ~= nil then error(errors[1], 0) end
  if not many then return values[1] end
  for i, err in pairs(errors) do values[i] = { error = tostring(err) } end
  return core.answer(values)
end

-- A list as an iterator; an iterator as it is.
local function iterator_of(values)
  if type(values) == "function" then return values end
  if not kind.is_list(values) then
    raise("argument", "each", "expected an iterator or a list, got " .. options.show(values), "for instance io.lines(file)")
  end
  local at = 0
  kind.whole(values, "each", "values")
  return function()
    at = at + 1
    return values[at]
  end
end

--- Answers for every value of an iterator or a list, in its order. At most `window` inputs are taken before
--- the first of them is answered: memory stays bounded, and a policy always has as many to choose from.
--- `for input, answer, err in p:each(io.lines(file)) do`; err is what that input alone failed with.
---
---     local classify, labels = pl.pipeline("text-classification", "scripts/models/reviews"), {}
---     for text, answer, err in classify:each { "A great place.", "An awful place." } do labels[#labels + 1] = answer.label end
---     print(table.concat(labels, " "))                                      --> POSITIVE NEGATIVE
---@param values fun(): any|table an iterator, such as io.lines(file), or a list
---@param opts table|nil { policy=, window=256, progress=true (a line on the program's terminal), on_progress=function(done) }
---@return fun(): any, any, any
function Pipeline:each(values, opts)
  kind.expect(self, "Pipeline", "each")
  local o = options.check(opts, { policy = "table|function", window = "positive", progress = "boolean", on_progress = "function" }, "each")
  local width = o.window or self.task_.at_once or window_size
  local run = each.run(self, iterator_of(values), { window = width, policy = o.policy or self.policy_ })
  local own = o.on_progress or self.options.on_progress
  local tell, done, over = own or o.progress ~= false and progress.counter(self.name_, 0) or function() end, 0, false
  return function()
    if over then return nil end
    local input, value, err = run:next()
    over = input == nil
    if not over then done = done + 1 end
    if over or done % width == 0 then tell(done) end
    if over and not own then tell(nil) end
    return input, value, err
  end
end

function Pipeline.__tostring(p) return ("Pipeline %s, %s"):format(p.name_, tostring(p.model)) end

local common = { policy = "table|function", device = "string", compute = "string", threads = "positive", on_progress = "function" }

-- What a task's options may be. Tasks that write text take all of m:generate's; `own` leaves those out.
local function spec_of(module, own)
  local spec = {}
  for key, wanted in pairs(own and module.own_spec or module.spec or {}) do spec[key] = wanted end
  for key, wanted in pairs(common) do spec[key] = wanted end
  return spec
end

--- Every task and every other name of one, with its own options by name.
---@return table<string, table>
function pipeline.tasks()
  local out = {}
  for name in pairs(files) do out[name] = spec_of(task_of(name), true) end
  for alias, name in pairs(aliases) do out[alias] = out[name] end
  return out
end

--- A task over a model: `p(x)` → answer, `p(list)` → list, `p:each(iterator)`. Or, given a list, stages
--- one after the other (see tok:stage and m:stage).
---
---     local classify = pl.pipeline("text-classification", "scripts/models/reviews", { truncate = "model" })
---     print(classify("A great place.").label, #classify { "good", "bad" })  --> POSITIVE	2
---@param task string|table "text-classification", "fill-mask", …; or { stage, stage, … }
---@param model string|Model|nil a model or what pl.load takes
---@param opts table|nil the task's options, policy=, on_progress= and those of pl.load: device=, compute=, threads=
---@return Pipeline
function pipeline.pipeline(task, model, opts)
  if kind.is_list(task) then
    if #task == 0 then raise("argument", "pipeline", "a pipeline without stages", "name a task, or list stages: { tok:stage{}, m:stage{} }") end
    return stage.chain(task, model)
  end
  local module, name = task_of(task)
  local o = options.check(opts, spec_of(module), "pipeline", name)
  if type(model) == "string" then
    local load = options.pick(o, { "device", "compute", "threads" })
    load.head = module.head
    model = require("perilune.load").load(model, load)
  end
  if kind.of(model) ~= "Model" then raise("argument", "pipeline", "expected a model or its path, got " .. options.show(model)) end
  check_head(module, name, model)
  if not model.tokenizer and not module.pictures then
    raise("argument", "pipeline", "the model has no tokenizer: " .. tostring(model.tokenizer_reason), "load it with tokenizer=")
  end
  local p = setmetatable({ task = name, model = model, tokenizer = model.tokenizer, options = o, task_ = module, name_ = name,
    policy_ = o.policy }, Pipeline)
  if module.prepare then module.prepare(p) end
  return p
end

return pipeline
