-- What an engine's steps did, seen through its policy: who ran, who waited for what. For e:queue and e:timeline.
local core = require "perilune.core"
local columns = require "perilune.base.columns"

local recording = {}

local Recording = {}
Recording.__index = Recording

local function now_ms() return core.clock() * 1000 end

--- A recording without steps.
---@return table
function recording.new()
  return setmetatable({ start = now_ms(), requests = {}, index = {}, steps = {}, tokens = 0, positions = 0 }, Recording)
end

-- The number of a request in the picture; it is entered when it is first seen.
function Recording:number_of(entry, now)
  local i = self.index[entry.id]
  if not i then
    i = #self.requests + 1
    self.index[entry.id] = i
    self.requests[i] = { id = entry.id, prompt = entry.prompt_tokens, arrive_ms = now - self.start, end_ms = now - self.start, client = entry.client }
  end
  return i
end

--- Notes a request when it is handed in.
---@param line Request
function Recording:submitted(line)
  local i = self:number_of({ id = line.id, prompt_tokens = line.prompt_tokens }, now_ms())
  self.requests[i].line = line
end

-- Entries of a plan with their tokens.
local function planned(plan)
  local of = {}
  for _, one in ipairs(plan or {}) do
    local entry = type(one) == "table" and type(one[1]) == "table" and one[1] or one
    of[entry.id] = type(one) == "table" and rawget(one, "tokens") or entry.pending_tokens
  end
  return of
end

-- Why an entry does not run in this step.
local function reason(entry, room, tokens, rows)
  local free = room.pages[entry.pool]
  if free and entry.pages_needed > free then return ("pages: needs %d, %d are free"):format(entry.pages_needed, free) end
  if tokens + entry.pending_tokens > room.tokens then return ("the step's tokens: %d of %d are taken"):format(tokens, room.tokens) end
  if rows + entry.rows > room.rows then return ("the step's rows: %d of %d are taken"):format(rows, room.rows) end
  return "the policy"
end

function Recording:close(now)
  local step = self.steps[#self.steps]
  if step and not step.ms then
    step.ms = now - self.start - step.at_ms
    for _, ran in ipairs(step.ran) do self.requests[ran.request].end_ms = now - self.start end
  end
end

function Recording:open(queue, room, plan, now)
  local of, ran, tokens, rows, longest = planned(plan), {}, 0, 0, 0
  for _, entry in ipairs(queue) do
    local i, n = self:number_of(entry, now), of[entry.id]
    if n then
      ran[#ran + 1] = { request = i, tokens = n }
      tokens, rows, longest = tokens + n, rows + entry.rows, math.max(longest, n)
    end
  end
  local view = {}
  for i, entry in ipairs(queue) do
    view[i] = { id = entry.id, state = entry.state, prompt_tokens = entry.prompt_tokens, new_tokens = entry.new_tokens, cached_tokens = entry.cached_tokens,
      client = entry.client, waited_steps = entry.waited_steps, waited_ms = entry.waited_ms, runs = of[entry.id],
      waits_for = not of[entry.id] and reason(entry, room, tokens, rows) or nil }
  end
  local positions = plan and plan.layout == "padded" and longest * #ran or tokens
  self.view = { entries = view, tokens = tokens, rows = rows, bytes = room.bytes, pages = room.pages[queue[1] and queue[1].pool or 1], step = room.step }
  if #ran == 0 then return end
  self.tokens, self.positions = self.tokens + tokens, self.positions + positions
  self.steps[#self.steps + 1] = { at_ms = now - self.start, tokens = tokens, positions = positions, ran = ran }
end

--- A policy that plans as another does and tells the recording.
---@param policy table|function
---@return table
function Recording:wrap(policy)
  local inner = type(policy) == "function" and policy or policy.plan
  return setmetatable({ plan = function(queue, room)
    local now = now_ms()
    self:close(now)
    local plan = inner(queue, room)
    self:open(queue, room, plan, now)
    return plan
  end }, { __index = type(policy) == "table" and policy or nil })
end

--- What the picture of a run is made of, as pl.simulate gives it.
---@return table
function Recording:result()
  local now = now_ms()
  self:close(now)
  local last = 0
  for _, step in ipairs(self.steps) do last = math.max(last, step.at_ms + step.ms) end
  for _, request in ipairs(self.requests) do
    local done = request.line and request.line:result()
    request.finish_reason = done and done.finish_reason or nil
  end
  return { requests = self.requests, timeline = self.steps, ms = last, steps = #self.steps, tokens = self.tokens,
    waste = self.positions > 0 and 1 - self.tokens / self.positions or 0 }
end

--- The same with every step as long as the others, so that the picture does not depend on the machine: times are numbers of
--- steps, a request comes before the first step that began after it did.
---@param result table of Recording:result
---@return table
function recording.in_steps(result)
  local out = { requests = {}, timeline = {}, ms = #result.timeline, steps = result.steps, tokens = result.tokens, waste = result.waste, by = "steps" }
  local ends = {}
  for k, step in ipairs(result.timeline) do
    out.timeline[k] = { at_ms = k - 1, ms = 1, tokens = step.tokens, positions = step.positions, ran = step.ran }
    for _, ran in ipairs(step.ran) do ends[ran.request] = k end
  end
  for i, request in ipairs(result.requests) do
    local before = 0
    while result.timeline[before + 1] and result.timeline[before + 1].at_ms < request.arrive_ms do before = before + 1 end
    out.requests[i] = { prompt = request.prompt, arrive_ms = before, end_ms = ends[i] or before, finish_reason = request.finish_reason }
  end
  return out
end

--- The same of an engine that was not recorded, from what results say of their times.
---@param lines Request[]
---@return table
function recording.of_results(lines)
  local result = { requests = {}, timeline = {}, ms = 0, steps = 0, waste = 0 }
  local first = math.huge
  for _, one in ipairs(lines) do first = math.min(first, one.at_ms) end
  for _, one in ipairs(lines) do
    local done = one.line:result()
    local times = done and done.timings
    if times then
      local i, at = #result.requests + 1, one.at_ms - first
      local reads, writes = at + (times.queued_ms or 0), at + (times.queued_ms or 0) + (times.prefill_ms or 0)
      local ends = writes + (times.decode_ms or 0)
      result.requests[i] = { prompt = done.prompt_tokens or 1, arrive_ms = at, end_ms = ends, finish_reason = done.finish_reason }
      local function add(from, to, tokens)
        result.timeline[#result.timeline + 1] = { at_ms = from, ms = to - from, tokens = 0, positions = 0, ran = { { request = i, tokens = tokens } } }
      end
      add(reads, writes, done.prompt_tokens or 1)
      add(writes, ends, #(done.ids or {}))
      result.ms = math.max(result.ms, ends)
    end
  end
  return result
end

local function as_text(q)
  local head = ("%d waiting, %d running, %d finished; %d steps, %d tokens, %.0f tokens/s; %s of keys and values in use%s"):format(q.waiting, q.running,
    q.finished, q.steps, q.tokens, q.tokens_per_s, q.cache, q.pages and (", %d pages free"):format(q.pages) or "")
  if #q == 0 then return head end
  local rows = { { "request", "state", "prompt", "cached", "new", "waited", "runs" } }
  for i, one in ipairs(q) do
    rows[i + 1] = { one.id .. (one.client and " " .. one.client or ""), one.state, one.prompt_tokens, one.cached_tokens, one.new_tokens,
      one.waited_steps > 0 and one.waited_steps .. " steps" or "", one.runs and one.runs .. " tokens" or "waits for " .. one.waits_for }
  end
  return head .. "\n" .. columns.text(rows)
end

--- What the queue is like: counts, and a row a request as the last step saw it.
---@param stats table as e:stats gives them
---@param record table|nil
---@return table
function recording.queue(stats, record)
  local q = { waiting = stats.waiting, running = stats.running, finished = stats.finished, steps = stats.steps, tokens = stats.tokens,
    tokens_per_s = stats.busy_ms > 0 and stats.tokens / stats.busy_ms * 1000 or 0,
    cache = require("perilune.base.byte_count").text(stats.cache_bytes), cache_bytes = stats.cache_bytes }
  local view = record and record.view
  if view and stats.waiting + stats.running > 0 then
    for i, one in ipairs(view.entries) do q[i] = one end
    q.pages = view.pages
  end
  return setmetatable(q, { __tostring = as_text })
end

return recording
