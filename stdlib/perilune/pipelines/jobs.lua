-- An input of a pipeline on its way to an answer: the rows it becomes, their requests, what they mean.
local core = require "perilune.core"
local submit = require "perilune.serve.submit"

local jobs = {}

--- What one input becomes, or the error that it is.
---@param p Pipeline
---@param input any
---@return table job { rows=, lost=, results=, work= (of tasks that ask the engine again and again) } or { error=, lost= }
function jobs.begin(p, input)
  p.lost_ = {}   -- tokens that cutting took, by text: see rows.encode
  local ok, job = pcall(p.task_.begin, p, input)
  if not ok then return { error = job, lost = 0 } end
  job.results, job.lost = {}, 0
  for _, n in pairs(p.lost_) do job.lost = job.lost + n end
  return job
end

--- Hands a job's rows to an engine: rows of `forward` tasks go through the head, of `generate` tasks are
--- prompts.
---@param p Pipeline
---@param engine userdata
---@param job table
function jobs.submit(p, engine, job)
  job.lines = {}
  for i, row in ipairs(job.error and {} or job.rows) do
    local ok, line = pcall(function()
      if row.generate then
        local request, lost = submit.submit(p.model, engine, row.generate, p.name_)
        job.lost = job.lost + lost
        return request
      end
      return submit.submit_forward(p.model, engine, row.input, {})
    end)
    if ok then job.lines[i] = line else job.error = job.error or line end
  end
end

--- Lets a job that asks again and again begin, or go on with what was answered.
---@param p Pipeline
---@param engine userdata
---@param job table
---@param input any
function jobs.go_on(p, engine, job, input)
  local again
  repeat
    again = job.work:go_on(engine)
    p.task_.news(p, job, input)
  until not again or jobs.is_done(job)   -- a listener that fails ends it
end

--- How far such a job is; nothing for others.
---@param job table
---@return number|nil done
---@return number|nil total
function jobs.progress(job)
  if job.work then return job.work:progress() end
end

--- Whether all that was submitted has ended.
---@param job table
---@return boolean
function jobs.is_done(job)
  if job.work then return job.work.ended end
  for _, line in pairs(job.lines or {}) do if line.state ~= "done" then return false end end
  return true
end

--- The answer to an input, or nil and an error.
---@param p Pipeline
---@param input any
---@param job table done
---@return any
---@return any err
function jobs.finish(p, input, job)
  for i, line in pairs(job.lines or {}) do
    local result = line:result()
    if result.finish_reason == "error" then job.error = job.error or result.error end
    job.results[i] = result
  end
  if job.error then return nil, job.error end
  local ok, value = pcall(p.task_.finish, p, input, job)
  if not ok then return nil, value end
  if job.lost > 0 and type(value) == "table" then value.lost = job.lost end
  return core.answer(value)
end

--- What cutting took from inputs, which is said once a run, unless it waits for more.
---@param p Pipeline
---@param list table[] jobs
---@param told table the run's own: { waits= }
function jobs.note_lost(p, list, told)
  for _, job in ipairs(list) do
    if job.lost > 0 then told.cut, told.lost = (told.cut or 0) + 1, (told.lost or 0) + job.lost end
  end
  told.inputs = (told.inputs or 0) + #list
  if not told.cut or told.said or told.waits then return end
  told.said = true
  core.warn(("%d of %d inputs were cut: %d tokens do not count in the answers (each says how many as `lost`)")
    :format(told.cut, told.inputs, told.lost), p.name_)
end

return jobs
