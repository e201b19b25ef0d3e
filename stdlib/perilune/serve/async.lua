-- pl.async: coroutines that wait for requests, driven by whoever has the frame: pl.async.step (pl_step of a C host calls
-- it). A task that waits costs a look a frame, and the engines that tasks wait for are stepped for them.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local engine = require "perilune.serve.engine"

local async = {}

local Task = { __name = "Task" }
Task.__index = Task


local tasks = {}   -- that are not done, in order of their beginning
local current      -- the one that runs

function Task.__tostring(task) return "Task (" .. task.state .. ")" end

local function is_task(value) return getmetatable(value) == Task end
local function is_request(value) return kind.of(value) == "Request" end

-- What a task ended with, or what failed.
local function finish(task, state, value)
  task.state, task.wait = state, nil
  if state == "done" then
    task.values = value
  else
    task.error = value
  end
end

local function resume(task, ...)
  local outer = current
  current, task.wait = task, nil
  local function settle(fine, ...)
    current = outer
    if not fine then
      local err = ...
      return finish(task, type(err) == "table" and err.code == "cancelled" and task.cancelling and "cancelled" or "failed", err)
    end
    if coroutine.status(task.thread) == "dead" then return finish(task, "done", { n = select("#", ...), ... }) end
    if not task.wait then   -- a plain coroutine.yield: goes on at the next step
      task.wait = { frame = true }
    end
  end
  settle(coroutine.resume(task.thread, ...))
end

--- Begins a task: a function that runs as a coroutine and may wait inside (pl.async.await, sleep, frame, events). It
--- runs at once up to its first wait; pl.async.step goes on with it.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     local said
---     local task = pl.async.run(function(text)
---       said = pl.async.await(engine:submit(text, { max_new_tokens = 3 })).finish_reason
---     end, "Once upon a time")
---     while pl.async.step { budget_ms = 3 } > 0 do end                      -- a frame each
---     print(said, task.state)                                               --> length	done
---@param f function
---@param ... any its arguments
---@return Task
function async.run(f, ...)
  if type(f) ~= "function" then raise("argument", "async.run", "expected a function, got " .. options.show(f)) end
  local task = setmetatable({ state = "waiting", thread = coroutine.create(f) }, Task)
  tasks[#tasks + 1] = task
  resume(task, ...)
  return task
end

-- ---------------------------------------------------------------- waiting

local function task_here(op)
  if current and coroutine.running() == current.thread then return current end
  if current then
    raise("state", op, "called from a coroutine inside the task", "only the task's own function may wait: begin another with pl.async.run")
  end
  return nil
end

local function is_done(value)
  if is_task(value) then return value.state ~= "waiting" end
  return value:result() ~= nil
end

local function all_done(list)
  for i = 1, #list do if not is_done(list[i]) then return false end end
  return true
end

local function failure(value)
  if is_task(value) then
    if value.state ~= "done" then
      value.told = true
      return value.error
    end
    return nil
  end
  local result = value:result()
  if result.finish_reason ~= "error" then return nil end
  local _, err = pcall(core.error, { code = result.error_code, op = "await", message = result.error })
  return err
end

local function answer(value)
  if is_task(value) then return unpack(value.values, 1, value.values.n) end
  return value:result()
end

local function pause()
  if coroutine.yield() == "cancel" then core.error { code = "cancelled", op = "async", message = "the task was cancelled" } end
end

-- Ready again when `wait` says so; outside of tasks it is waited for here.
local function suspend(op, wait)
  local task = task_here(op)
  if task then
    task.wait = wait
    pause()
    return
  end
  repeat async.step { budget_ms = 20, also = wait } until not wait.ready or wait.ready()
end

--- Waits for requests and tasks. One gives its answer: a request its Result, a task what its function returned. A list
--- gives a list of Results, or of first values. What failed is raised when all of them are done; a request that was
--- cancelled is a Result that says so. Outside of tasks it steps until they are done.
---
---     local m = pl.load "scripts/models/tales"
---     local engine = pl.engine(m)
---     local ask = function(text) return engine:submit(text, { max_new_tokens = 2 }) end
---     local results = pl.async.await { ask "Once", ask "The" }
---     print(#results, results[2].finish_reason)                             --> 2	length
---@param what Request|Task|table
---@return any
function async.await(what)
  local single = is_request(what) or is_task(what)
  local list = single and { what } or what
  if type(list) ~= "table" or getmetatable(list) ~= nil then
    raise("argument", "async.await", "expected a Request, a Task or a list of them, got " .. options.show(what))
  end
  for i, value in ipairs(list) do
    if not is_request(value) and not is_task(value) then
      raise("argument", "async.await", ("entry %d: expected a Request or a Task, got %s"):format(i, options.show(value)))
    end
    if value == current then raise("argument", "async.await", "a task cannot wait for itself") end
  end
  if not all_done(list) then suspend("async.await", { on = list, ready = function() return all_done(list) end }) end
  for i = 1, #list do
    local err = failure(list[i])
    if err ~= nil then error(err, 0) end
  end
  if single then return answer(what) end
  local results = {}
  for i = 1, #list do results[i] = answer(list[i]) end
  return results
end

--- The events of a request, waited for one by one: `for event in pl.async.events(request) do`. The last is "done" or
--- "error".
---
---     local m = pl.load "scripts/models/tales"
---     local request, kinds = pl.engine(m):submit("Once", { max_new_tokens = 2 }), {}
---     for event in pl.async.events(request) do kinds[#kinds + 1] = event.kind end
---     print(table.concat(kinds, " "))                                       --> token token done
---@param request Request
---@return fun(): Event|nil
function async.events(request)
  if not is_request(request) then raise("argument", "async.events", "expected a Request, got " .. options.show(request)) end
  local over, take, event = false, request:events(), nil
  local function look()
    if event == nil then event = take() end
    if event == nil then
      take = request:events()
      event = take()
    end
    return event ~= nil or request:result() ~= nil
  end
  return function()
    if over then return nil end
    if not look() then suspend("async.events", { on = { request }, ready = look }) end
    local found = event
    event = nil
    if found == nil or found.kind == "done" or found.kind == "error" then over = true end
    return found
  end
end

--- Waits so many milliseconds, at least.
---
---     local task = pl.async.run(function()
---       pl.async.sleep(2)
---       return "awake"
---     end)
---     while pl.async.step() > 0 do end
---     print(task:result())                                                  --> awake
---@param ms number
function async.sleep(ms)
  if type(ms) ~= "number" or ms ~= ms or ms < 0 then raise("argument", "async.sleep", "expected milliseconds, 0 or more, got " .. options.show(ms)) end
  local till = core.clock() + ms / 1000
  suspend("async.sleep", { till = till, ready = function() return core.clock() >= till end })
end

--- Waits for the next pl.async.step: the rest of a task's work is the next frame's.
---
---     local frames = 0
---     pl.async.run(function()
---       for _ = 1, 3 do
---         frames = frames + 1
---         pl.async.frame()
---       end
---     end)
---     while pl.async.step() > 0 do end
---     print(frames)                                                         --> 3
function async.frame()
  if not task_here "async.frame" then raise("state", "async.frame", "there is no task here", "begin one with pl.async.run") end
  current.wait = { frame = true }
  pause()
end

-- ---------------------------------------------------------------- stepping

-- Goes on with what is ready; whether any was. Tasks that began meanwhile have their turn next time.
local function go_on(first)
  local any = false
  for i = 1, #tasks do
    local task = tasks[i]
    local wait = task.state == "waiting" and task ~= current and task.wait
    if wait and (wait.frame and first or wait.ready and wait.ready()) then
      any = true
      resume(task)
    end
  end
  local left = {}
  for _, task in ipairs(tasks) do
    if task.state == "waiting" then left[#left + 1] = task end
  end
  tasks = left
  return any
end

-- The engines that somebody waits for, each once.
local function wanted(also)
  local list, seen = {}, {}
  local function add(wait)
    for _, value in ipairs(wait and wait.on or {}) do
      local e = is_request(value) and value:result() == nil and engine.of(value)
      if e and not seen[e] then
        seen[e] = true
        list[#list + 1] = e
      end
    end
  end
  add(also)
  for _, task in ipairs(tasks) do add(task.wait) end
  return list
end

local function tell_failures(before)
  for _, task in ipairs(before) do
    if task.state == "failed" and not task.told then
      local awaited = false
      for _, other in ipairs(tasks) do
        for _, value in ipairs(other.wait and other.wait.on or {}) do awaited = awaited or value == task end
      end
      if not awaited then
        task.told = true
        core.warn("a task failed: " .. tostring(type(task.error) == "table" and task.error.message or task.error), "async")
      end
    end
  end
end

local step_spec = { budget_ms = "number", also = "table" }

--- Goes on with every task that can, steps the engines that tasks wait for, and so on until the budget is spent or
--- nothing can go on; without a budget, once. A frame loop calls it each frame (a C host's pl_step does). A task that
--- failed is told as a warning where no other waits for it; its error stays in task.error.
---
---     local task = pl.async.run(pl.async.frame)
---     print(pl.async.step(), task.state)                                    --> 0	done
---@param opts table|nil { budget_ms= }
---@return integer tasks that are left
function async.step(opts)
  local o = options.check(opts, step_spec, "async.step")
  local start, first = core.clock(), true
  repeat
    local before = tasks
    local any = go_on(first)
    tell_failures(before)
    first = false
    for _, e in ipairs(wanted(o.also)) do
      local left = o.budget_ms and o.budget_ms - (core.clock() - start) * 1000
      if left and left <= 0 then break end
      if not e:idle() then
        local step = e:step(left and { budget_ms = left } or nil)
        any = any or step.tokens > 0 or step.pending
      end
    end
    if o.also and o.also.ready() then break end
  until not any or not o.budget_ms or (core.clock() - start) * 1000 >= o.budget_ms
  if o.budget_ms then   -- what the last of the budget made ready
    local before = tasks
    go_on(false)
    tell_failures(before)
  end
  return #tasks
end

-- ---------------------------------------------------------------- a task

---@class Task
---@field state string "waiting", "done", "failed" or "cancelled"
---@field error any what was raised in it, where it failed or was cancelled

--- What its function returned; nil until it is done.
---
---     print(pl.async.run(function() return 1, "two" end):result())          --> 1	two
---@return any
function Task:result()
  if self.state == "done" then return answer(self) end
end

--- Ends it where it waits: the requests that it waits for are cancelled, and an error of the code "cancelled" is raised
--- in it there. One that is done stays as it is.
---
---     local task = pl.async.run(function() pl.async.sleep(1e6) end)
---     task:cancel()
---     print(task.state)                                                     --> cancelled
function Task:cancel()
  if self.state ~= "waiting" or self.cancelling then return end
  if self == current then core.error { code = "cancelled", op = "async", message = "the task was cancelled" } end
  for _, value in ipairs(self.wait and self.wait.on or {}) do
    if is_request(value) and not value:result() then value:cancel() end
  end
  self.cancelling = true
  resume(self, "cancel")
  if self.state == "waiting" then self.cancelling = nil end   -- it caught the error and waits for something else
end

return async
