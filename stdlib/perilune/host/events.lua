-- Requests that C submitted: an engine a model, steps within a budget, events in one queue.
local pl = require "perilune"
local core = require "perilune.core"
local objects = require "perilune.host.objects"

local events = {}

-- The queue: events[first .. last].
local queue, first, last = {}, 1, 0
local number_of = setmetatable({}, { __mode = "k" })   -- the engine's request → its number; a value that held the key
                                                       -- would keep it for ever
local kinds = { token = 1, done = 2, error = 3, warning = 4 }

local function put(event)
  last = last + 1
  queue[last] = event
end

--- Takes a prompt for a model's engine, which is made at its first one.
---@param model table objects' entry
---@return integer number of the request
function events.submit(model, prompt, options, worker)
  if not model.engine then model.engine = pl.engine(model.value, { worker = worker or nil }) end
  local line = model.engine:submit(prompt, options)
  local request = { line = line, text = "", tokens = 0, parts = {} }
  local number = objects.add("request", request)
  number_of[line] = number
  return number
end

local function finish(request, line)
  request.result = line:result()
  if request.on_done then request.on_done(request.result) end
end

local function take(line, event)
  local entry = objects.find(number_of[line])
  if not entry then return end   -- released
  local request = entry.value
  if event.kind == "token" then
    request.tokens = request.tokens + 1
    request.text = request.text .. (event.text or "")
    if event.text == "" or event.text == nil then return end
  elseif event.kind ~= "warning" then
    finish(request, line)
  end
  local text = event.text or event.error or event.message
  if event.kind == "error" and request.result then text = request.result.error or text end
  put { number = entry.number, kind = kinds[event.kind] or 4, token = event.id or -1, text = tostring(text or "") }
end

--- Takes what the engines have to tell.
function events.collect()
  objects.each("model", function(model)
    if model.engine then
      for line, event in model.engine:events() do take(line, event) end
    end
  end)
end

-- Scripts' tasks (pl.async) get up to half of the time; how many are left.
local function step_tasks(budget_ms)
  local async = rawget(pl, "async")
  return async and async.step { budget_ms = budget_ms > 0 and budget_ms / 2 or nil } or 0
end

--- Steps scripts' tasks and every model's engine until the time is over or nothing is left; without a budget, once.
---@param budget_ms number
---@return boolean idle
---@return integer tokens
---@return number ms
function events.step(budget_ms)
  local start, tokens = core.clock(), 0
  local idle = step_tasks(budget_ms) == 0
  local function left() return budget_ms - (core.clock() - start) * 1000 end
  objects.each("model", function(model)
    local e = model.engine
    if not e or e:idle() then return end
    if budget_ms > 0 and left() <= 0 then
      idle = false
      return
    end
    local step = e:step(budget_ms > 0 and { budget_ms = left() } or nil)
    tokens = tokens + step.tokens
    if not e:idle() then idle = false end
  end)
  events.collect()
  return idle, tokens, (core.clock() - start) * 1000
end

--- The next event: number, kind, token, text; nothing where there is none.
function events.peek()
  if first > last then
    first, last = 1, 0
    events.collect()
  end
  local event = queue[first]
  if event then return event.number, event.kind, event.token, event.text end
end

function events.drop()
  queue[first] = nil
  first = first + 1
end

return events
