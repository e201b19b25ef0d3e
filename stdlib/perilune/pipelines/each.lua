-- p:each: answers for the values of an iterator, one engine for all of them.
local core = require "perilune.core"
local jobs = require "perilune.pipelines.jobs"
local submit = require "perilune.serve.submit"

local each = {}

local Run = {}
Run.__index = Run

-- The engine of a run. A task that asks again and again keeps its own between runs, with the memory that its passes
-- compute in, which for windows of sound would cost as much to take from the system again as a tenth of the window.
local function engine_of(p, policy)
  local kept = policy == nil and p.engine_
  p.engine_ = nil
  return kept or submit.engine(policy)
end

--- A run over an iterator: at most o.window inputs are taken and not answered, oldest first.
---@param p Pipeline
---@param iterator fun(): any
---@param o table { window=, policy=, count= (how many there are, where that is known), on_work=function(run) (after every step of
--- tasks that ask again and again) }
---@return table run run:next() → input, answer, err; nil at the end
function each.run(p, iterator, o)
  local engine = not p.task_.direct and engine_of(p, o.policy) or nil
  return setmetatable({ p = p, iterator = iterator, width = o.window, engine = engine, guard = engine and submit.guard(engine),
    keeps = p.task_.at_once and o.policy == nil,
    first = 1, last = 0, taken = {}, on_work = o.on_work, count = o.count, ended = o.count == 0, told = { waits = true } }, Run)
end

-- Takes inputs as long as there is room for them.
function Run:fill()
  while not self.ended and self.last - self.first + 1 < self.width do
    local input = self.iterator()
    if input == nil then
      self.ended = true
      return
    end
    local job = jobs.begin(self.p, input)
    if self.engine then jobs.submit(self.p, self.engine, job) end
    self.last = self.last + 1
    self.taken[self.last] = { input = input, job = job }
    self.ended = self.last == self.count
  end
end

-- Jobs that ask again and again go on with what they were answered; at most at_once of them are underway.
function Run:go_on()
  local most, underway = self.p.task_.at_once, 0
  if not most then return end
  for i = self.first, self.last do
    local one = self.taken[i]
    if not jobs.is_done(one.job) and underway < most then
      jobs.go_on(self.p, self.engine, one.job, one.input)
      if not jobs.is_done(one.job) then underway = underway + 1 end
    end
  end
  if self.on_work then self.on_work(self) end
end

--- How much of what was taken is done: whole inputs, and parts of those underway.
---@return number inputs
function Run:progress()
  local done = self.first - 1
  for i = self.first, self.last do
    local heard, total = jobs.progress(self.taken[i].job)
    if total and total > 0 then done = done + heard / total end
  end
  return done
end

--- How far the oldest input is, in the units of its task.
---@return number|nil done
---@return number|nil total
function Run:oldest_progress()
  local oldest = self.taken[self.first]
  if oldest then return jobs.progress(oldest.job) end
end

-- Steps until a job is done. More may come once something is answered: a policy that waits for it is
-- asked again and told that nothing does.
function Run:step(job)
  local idle = false
  self:go_on()
  while not jobs.is_done(job) do
    self.engine:set_more(not self.ended and not idle)
    idle = self.engine:advance().idle
    if core.interrupted() then core.error { code = "cancelled", op = self.p.name_, message = "interrupted", level = 1 } end
    self:go_on()
  end
end

function Run:finish(job)
  local fine, err = pcall(self.step, self, job)
  if fine then return end
  self.keeps = false
  pcall(submit.abandon, self.engine)
  error(err, 0)
end

-- A window of inputs at a time, or at the end.
function Run:note_lost(job)
  self.told.waits = job ~= nil and ((self.told.inputs or 0) + 1) % self.width ~= 0
  jobs.note_lost(self.p, { job }, self.told)
end

-- At the end its engine is closed, or kept for the next run.
function Run:release()
  local engine = self.engine
  self.engine = nil
  if not engine then return end
  if self.keeps and not self.p.engine_ then
    submit.unguard(self.guard)
    self.p.engine_ = engine
  else
    engine:close()
  end
end

-- The oldest input, its answer, its error; nil at the end.
function Run:next()
  self:fill()
  local oldest = self.taken[self.first]
  if not oldest then
    self:note_lost(nil)
    self:release()
    return nil
  end
  self:finish(oldest.job)
  self.taken[self.first], self.first = nil, self.first + 1
  self:note_lost(oldest.job)
  return oldest.input, jobs.finish(self.p, oldest.input, oldest.job)
end

return each
