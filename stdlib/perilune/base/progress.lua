-- How far long work is: a caller's on_progress, or, where the program has asked for it, a line on its
-- terminal once two seconds have passed. A host that asks for neither hears nothing.
local core = require "perilune.core"

local progress = {}

local shown_after = 2      -- seconds of silence
local between = 0.1        -- seconds from one line to the next
local write                -- function(text): the terminal's; nil where there is none

--- From now on work is shown on standard error, where that is a terminal. For the program.
function progress.on_terminal()
  if not core.is_tty(2) then return end
  write = function(text)
    io.stdout:flush()
    io.stderr:write("\r\27[K", text)
    io.stderr:flush()
  end
end

local function line(label, done, total, started)
  local passed = core.clock() - started
  local rate = done / math.max(1e-9, passed)
  if not total or total <= 0 then return ("%s: %d done, %.0f/s"):format(label, done, rate) end
  local left = done > 0 and passed >= shown_after and (", %d s left"):format(math.ceil((total - done) / rate)) or ""
  return ("%s: %d of %d, %d %%%s"):format(label, done, total, math.floor(100 * done / total), left)
end

local function nothing() end

--- A counter for the terminal: call it with what is done (and of how much), with nil at the end.
---@param label string
---@param after number|nil seconds of silence before the first line (default 2); 0: every call is shown
---@return fun(done: number|nil, total: number|nil)
function progress.counter(label, after)
  if not write then return nothing end
  local started, last, shown, pause = core.clock(), -math.huge, false, after == 0 and 0 or between
  return function(done, total)
    local now = core.clock()
    if not done then
      if shown then write "" end
      shown = false
    elseif now - started >= (after or shown_after) and now - last >= pause then
      last, shown = now, true
      write(line(label, done, total, started))
    end
  end
end

-- Ends the line, then gives back what f gave or raises what it raised.
local function settle(counter, fine, ...)
  counter(nil)
  if not fine then error((...), 0) end
  return ...
end

--- Runs f(tick); tick(done, total) tells how far it is.
---@param label string
---@param on_progress fun(done: number, total: number|nil)|nil the caller's own
---@param f fun(tick: fun(done: number, total: number|nil)): any
---@return any what f returns
function progress.during(label, on_progress, f)
  if on_progress then return f(on_progress) end
  if not write then return f(nothing) end
  local counter = progress.counter(label)
  return settle(counter, pcall(f, counter))
end

--- Says what begins now; with nil, that it is over.
---@param text string|nil
function progress.note(text)
  if write then write(text and text .. " …" or "") end
end

--- Whether anybody is told: work that would have to be cut up for it need not be.
---@param on_progress function|nil
---@return boolean
function progress.wanted(on_progress) return on_progress ~= nil or write ~= nil end

return progress
