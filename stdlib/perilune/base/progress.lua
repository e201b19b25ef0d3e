-- How far long work is: a caller's on_progress, or, where the program has asked for it, a line on its
-- terminal once two seconds have passed. A host that asks for neither hears nothing.
local core = require "perilune.core"

local progress = {}

local shown_after = 2      -- seconds of silence
local between = 0.1        -- seconds from one line to the next
local visible = false      -- whether a line stands on the terminal
local of_call = false      -- whether that line is of a single call that goes on for long
local write                -- function(text): the terminal's; nil where there is none

local function to_stderr(text)
  io.stdout:flush()
  io.stderr:write("\r\27[K", text)
  io.stderr:flush()
end

-- Seconds as 1:05 or 1:01:05.
local function clock(seconds)
  local s = math.floor(seconds)
  if s < 3600 then return ("%d:%02d"):format(s / 60, s % 60) end
  return ("%d:%02d:%02d"):format(s / 3600, s / 60 % 60, s % 60)
end

local function line(label, done, total, started, unit)
  local passed = core.clock() - started
  local rate = done / math.max(1e-9, passed)
  local function amount(n) return unit == "seconds" and clock(n) or ("%d"):format(n) end
  if not total or total <= 0 then
    return (unit == "seconds" and "%s: %s done, %.1f times as fast as it is" or "%s: %s done, %.0f/s"):format(label, amount(done), rate)
  end
  local left = done > 0 and passed >= shown_after and (total - done) / rate
  left = left and (left < 100 and (", %d s left"):format(math.ceil(left)) or (", %s left"):format(clock(left))) or ""
  return ("%s: %s of %s, %d %%%s"):format(label, amount(done), amount(total), math.floor(100 * done / total), left)
end

-- A word from within a call: a pass, texts that are encoded, a file that is read. A counter's line says more.
local function tell_call(op, done, total, seconds)
  if visible and not of_call then return end
  if op then write(total > 0 and line(op, done, total, core.clock() - seconds) or ("%s: %s"):format(op, clock(seconds)))
  elseif of_call then write "" end
  of_call = op ~= nil
end

--- From now on work is shown on standard error, where that is a terminal. For the program; a test gives what
--- writes instead and how long nothing is shown.
---@param opts table|nil { write=function(text) ("": the line goes), after=2, between=0.1 (seconds) }
function progress.on_terminal(opts)
  local o = opts or {}
  if not o.write and not core.is_tty(2) then return end
  local to = o.write or to_stderr
  shown_after, between = o.after or 2, o.between or 0.1
  write = function(text)
    visible, of_call = text ~= "", false
    to(text)
  end
  core.on_long_work(tell_call, shown_after)
end

--- Nobody is shown anything any more.
function progress.off_terminal()
  write, visible, of_call = nil, false, false
  core.on_long_work(nil)
end

local function nothing() end

--- A counter for the terminal: call it with what is done (and of how much), with nil at the end.
---@param label string
---@param after number|nil seconds of silence before the first line (default 2); 0: every call is shown
---@param unit string|nil "seconds": of sound, shown as minutes and seconds
---@return fun(done: number|nil, total: number|nil)
function progress.counter(label, after, unit)
  if not write then return nothing end
  local started, last, shown, pause = core.clock(), -math.huge, false, after == 0 and 0 or between
  return function(done, total)
    local now = core.clock()
    if not done then
      if shown then write "" end
      shown = false
    elseif now - started >= (after or shown_after) and now - last >= pause then
      last, shown = now, true
      write(line(label, done, total, started, unit))
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
---@param unit string|nil as in counter
---@return any what f returns
function progress.during(label, on_progress, f, unit)
  if on_progress then return f(on_progress) end
  if not write then return f(nothing) end
  local counter = progress.counter(label, nil, unit)
  return settle(counter, pcall(f, counter))
end

local function end_call(fine, ...)
  core.one_call(false)
  if not fine then error((...), 0) end
  return ...
end

--- Runs f(), whose calls are shown as one that goes on for long: a pass that is written line by line.
---@param f fun(...): any
---@param ... any what f is given
---@return any what f returns
function progress.as_one_call(f, ...)
  if not write then return f(...) end
  core.one_call(true)
  return end_call(pcall(f, ...))
end

--- Takes the line off the terminal, where one stands: something else is about to be printed. The next count shows it again.
function progress.clear()
  if visible then write "" end
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
