-- pl.pipeline: a task over a model, from raw inputs to answers. A task is a file in
-- perilune/pipelines/ that says which rows an input becomes and what their outputs mean; here they are
-- run, ragged and batched by a policy, so that how inputs were batched cannot matter.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local names_of = require "perilune.base.names_of"
local submit = require "perilune.serve.submit"
local stage = require "perilune.pipelines.stage"

local pipeline = {}

-- Task → its file.
local files = {
  ["text-generation"] = "text_generation", chat = "chat", ["text-classification"] = "text_classification",
  ["token-classification"] = "token_classification", ["question-answering"] = "question_answering",
  ["fill-mask"] = "fill_mask", ["zero-shot-classification"] = "zero_shot_classification",
  ["feature-extraction"] = "feature_extraction", ["sentence-similarity"] = "sentence_similarity",
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
---@field tokenizer Tokenizer the model's
---@field options table as pl.pipeline was given them
local Pipeline = { __name = "Pipeline" }
Pipeline.__index = Pipeline

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

-- What one input becomes, or the error that it is.
local function begin(p, input)
  p.lost_ = {}   -- tokens that cutting took, by text: see rows.encode
  local ok, job = pcall(p.task_.begin, p, input)
  if not ok then return { error = job, lost = 0 } end
  job.results, job.lost = {}, 0
  for _, n in pairs(p.lost_) do job.lost = job.lost + n end
  return job
end

-- Runs every row of the jobs in one engine: rows of `forward` tasks through the head, of `generate`
-- tasks as prompts.
local function run(p, jobs, policy)
  local engine, lines = submit.engine(policy), {}
  for _, job in ipairs(jobs) do
    for i, row in ipairs(job.error and {} or job.rows) do
      local ok, line = pcall(function()
        if row.generate then
          local request, lost = submit.submit(p.model, engine, row.generate, p.name_)
          job.lost = job.lost + lost
          return request
        end
        return submit.submit_forward(p.model, engine, row.input, {})
      end)
      if ok then lines[#lines + 1] = { job = job, at = i, request = line } else job.error = job.error or line end
    end
  end
  local fine, err = pcall(engine.drain, engine)
  for _, line in ipairs(lines) do
    local result = fine and line.request:result()
    if result and result.finish_reason == "error" then line.job.error = line.job.error or result.error end
    line.job.results[line.at] = result
  end
  engine:close()
  if not fine then error(err, 0) end
end

-- Says once a run that inputs were cut; `told` is the run's own table.
local function tell_lost(p, jobs, told)
  local cut, lost = 0, 0
  for _, job in ipairs(jobs) do
    if job.lost > 0 then cut, lost = cut + 1, lost + job.lost end
  end
  if cut == 0 or told.lost then return end
  told.lost = true
  core.warn(("%d of %d inputs were cut: %d tokens do not count in the answers (each says how many as `lost`)"):format(cut, #jobs, lost), p.name_)
end

-- Answers of several inputs, each a value or nil and an error.
local function answer(p, inputs_, policy, told)
  local jobs = {}
  for i, input in ipairs(inputs_) do jobs[i] = begin(p, input) end
  if not p.task_.direct then run(p, jobs, policy) end
  tell_lost(p, jobs, told or {})
  local values, errors = {}, {}
  for i, job in ipairs(jobs) do
    local ok, value = not job.error, job.error
    if ok then ok, value = pcall(p.task_.finish, p, inputs_[i], job) end
    if ok and job.lost > 0 and type(value) == "table" then value.lost = job.lost end
    if ok then values[i] = value else errors[i] = value end
  end
  return values, errors
end

--- One input, one answer; a list, a list in the same order, in which an input that failed is
--- `{ error= }`.
---@param input any what the task takes, or a list of them
---@return any
function Pipeline:__call(input)
  if kind.is_list(input) and not (self.task_.takes_list and self.task_.takes_list(input)) then
    local values, errors = answer(self, input, self.policy_)
    for i, err in pairs(errors) do values[i] = { error = tostring(err) } end
    return values
  end
  local values, errors = answer(self, { input }, self.policy_)
  if errors[1] ~= nil then error(errors[1], 0) end
  return values[1]
end

local function progress_line(p)
  if not core.is_tty(2) then return function() end end
  local started = core.clock()
  return function(done, final)
    local rate = done / math.max(1e-9, core.clock() - started)
    io.stderr:write(("\r\27[K%s: %d done, %.0f/s%s"):format(p.name_, done, rate, final and "\n" or ""))
    io.stderr:flush()
  end
end

--- Answers for every value of an iterator, in its order, a window at a time: memory stays bounded.
--- `for input, answer, err in p:each(io.lines(file)) do`; err is what that input alone failed with.
---@param iterator fun(): any
---@param opts table|nil { policy=, window=256, progress=true }
---@return fun(): any, any, any
function Pipeline:each(iterator, opts)
  local o = options.check(opts, { policy = "table|function", window = "positive", progress = "boolean" }, "each")
  if type(iterator) ~= "function" then
    raise("argument", "each", "expected an iterator, got " .. options.show(iterator), "for a list, call the pipeline itself")
  end
  local width, policy, told = o.window or 256, o.policy or self.policy_, {}
  local window, values, errors, at, done, ended = {}, {}, {}, 0, 0, false
  local tell = o.progress == false and function() end or progress_line(self)
  return function()
    if at == #window and not ended then
      window, at = {}, 0
      while #window < width do
        local value = iterator()
        if value == nil then
          ended = true
          break
        end
        window[#window + 1] = value
      end
      values, errors = answer(self, window, policy, told)
      done = done + #window
      tell(done, ended)
    end
    if at == #window then return nil end
    at = at + 1
    return window[at], values[at], errors[at]
  end
end

function Pipeline.__tostring(p) return ("Pipeline %s, %s"):format(p.name_, tostring(p.model)) end

local common = { policy = "table|function", device = "string", compute = "string", threads = "positive" }

--- A task over a model: `p(x)` → answer, `p(list)` → list, `p:each(iterator)`. Or, given a list, stages
--- one after the other (see tok:stage and m:stage).
---@param task string|table "text-classification", "fill-mask", …; or { stage, stage, … }
---@param model string|Model|nil a model or what pl.load takes
---@param opts table|nil the task's options, policy= and those of pl.load: device=, compute=, threads=
---@return Pipeline
function pipeline.pipeline(task, model, opts)
  if kind.is_list(task) then return stage.chain(task, model) end
  local module, name = task_of(task)
  local spec = {}
  for key, wanted in pairs(module.spec or {}) do spec[key] = wanted end
  for key, wanted in pairs(common) do spec[key] = wanted end
  local o = options.check(opts, spec, "pipeline")
  if type(model) == "string" then
    local load = options.pick(o, { "device", "compute", "threads" })
    load.head = module.head
    model = require("perilune.load").load(model, load)
  end
  if kind.of(model) ~= "Model" then raise("argument", "pipeline", "expected a model or its path, got " .. options.show(model)) end
  check_head(module, name, model)
  if not model.tokenizer then
    raise("argument", "pipeline", "the model has no tokenizer: " .. tostring(model.tokenizer_reason), "load it with tokenizer=")
  end
  local p = setmetatable({ task = name, model = model, tokenizer = model.tokenizer, options = o, task_ = module, name_ = name,
    policy_ = o.policy }, Pipeline)
  if module.prepare then module.prepare(p) end
  return p
end

return pipeline
