-- p:each: answers for the values of an iterator, one engine for all of them.
local core = require "perilune.core"
local jobs = require "perilune.pipelines.jobs"
local submit = require "perilune.serve.submit"

local each = {}

local Run = {}
Run.__index = Run

--- A run over an iterator: at most o.window inputs are taken and not answered, oldest first.
---@param p Pipeline
---@param iterator fun(): any
---@param o table { window=, policy=, count= (how many there are, where that is known) }
---@return table run run:next() → input, answer, err; nil at the end
function each.run(p, iterator, o)
  local engine = not p.task_.direct and submit.engine(o.policy) or nil
  return setmetatable({ p = p, iterator = iterator, width = o.window, engine = engine, guard = engine and submit.guard(engine),
    first = 1, last = 0, taken = {}, count = o.count, ended = o.count == 0, told = { waits = true } }, Run)
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

-- Steps until a job is done. More may come once something is answered: a policy that waits for it is
-- asked again and told that nothing does.
function Run:step(job)
  local idle = false
  while not jobs.is_done(job) do
    self.engine:set_more(not self.ended and not idle)
    idle = self.engine:advance().idle
    if core.interrupted() then core.error { code = "cancelled", op = self.p.name_, message = "interrupted", level = 1 } end
  end
end

function Run:finish(job)
  local fine, err = pcall(self.step, self, job)
  if fine then return end
  pcall(submit.abandon, self.engine)
  error(err, 0)
end

-- A window of inputs at a time, or at the end.
function Run:note_lost(job)
  self.told.waits = job ~= nil and ((self.told.inputs or 0) + 1) % self.width ~= 0
  jobs.note_lost(self.p, { job }, self.told)
end

-- The oldest input, its answer, its error; nil at the end.
function Run:next()
  self:fill()
  local oldest = self.taken[self.first]
  if not oldest then
    self:note_lost(nil)
    if self.engine then self.engine:close() end
    return nil
  end
  self.taken[self.first], self.first = nil, self.first + 1
  self:finish(oldest.job)
  self:note_lost(oldest.job)
  return oldest.input, jobs.finish(self.p, oldest.input, oldest.job)
end

return each
