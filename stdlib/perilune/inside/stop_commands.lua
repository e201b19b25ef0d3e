-- What can be said at a stop of m:debug.
local raise = require "perilune.base.raise"
local show = require "perilune.show.show"
local frames = require "perilune.inside.frames"

local stop_commands = {}

-- The running debugging, at a stop.
local function at_stop(d, command)
  if not (d and d.place) then
    raise("state", command, "no pass has stopped", "m:debug(input) or :debug stops in one")
  end
  return d, d.place
end

-- "3" → 3, "" → 1.
local function times_of(rest, command)
  local n = rest == "" and 1 or tonumber(rest)
  if not n or n < 1 or n % 1 ~= 0 then raise("argument", command, ("expected how often, got %q"):format(rest)) end
  return n
end

local function going(mode)
  return function(d, rest, name)
    at_stop(d, name)
    d:go_on(mode, times_of(rest, name))
  end
end

local function list_breaks(d)
  if #d.breaks == 0 then d:say "no breakpoints: :break layers.3.attention, :break linear, :break where t:has_nan()" end
  for i, one in ipairs(d.breaks) do d:say(("%d  %s"):format(i, one.text)) end
end

local function add_break(d, rest)
  at_stop(d, "break")
  if rest == "" then return list_breaks(d) end
  d:add_break(rest)
  d:say(("breakpoint %d: %s"):format(#d.breaks, rest))
end

local function remove_break(d, rest)
  at_stop(d, "unbreak")
  if rest == "" or rest == "all" then
    d.breaks = {}
    return
  end
  local n = tonumber(rest)
  if not n or not d.breaks[n] then raise("argument", "unbreak", ("there is no breakpoint %s"):format(rest), ":break lists them") end
  table.remove(d.breaks, n)
end

local function frame_text(place, i)
  local frame = place.frames[i]
  return ("%s%d  %s  %s:%d"):format(i == (place.frame or 1) and ">" or " ", i, frame.name, frame.short, frame.line)
end

local function move(by)
  return function(d, _, name)
    local _, place = at_stop(d, name)
    local to = (place.frame or 1) + by
    if not place.frames[to] then
      raise("state", name, by > 0 and "this is the outermost function of the family" or "this is the innermost function of the family")
    end
    place.frame = to
    d:say(frame_text(place, to))
  end
end

local function locals(d)
  local _, place = at_stop(d, "locals")
  local frame = place.frames[place.frame or 1]
  local rows, width = {}, 1
  if place.t ~= nil and not place.rivals then rows[1] = { "t", place.t } end
  if place.rivals then
    for _, name in ipairs { "row", "raw", "step", "ids", "text" } do rows[#rows + 1] = { name, place[name] } end
  end
  for _, row in ipairs(frame and frames.locals(frame) or {}) do rows[#rows + 1] = row end
  for _, row in ipairs(rows) do width = math.max(width, #row[1]) end
  for _, row in ipairs(rows) do d:say(("%-" .. width .. "s  %s"):format(row[1], (show.summary(row[2])))) end
end

local function where(d)
  local _, place = at_stop(d, "where")
  for i in ipairs(place.frames) do d:say(frame_text(place, i)) end
  local frame = place.frames[place.frame or 1]
  if frame then d:say(frames.source(frame, 3)) end
end

local function stops(d)
  at_stop(d, "stops")
  for i, one in ipairs(d.stops) do
    d:say(("%s%d  %s"):format(i == d.place.number and ">" or " ", i, one.op == "mark" and one.path or one.op .. " " .. one.path))
  end
end

local function rewind(d, rest)
  local _, place = at_stop(d, "rewind")
  local n = rest == "" and place.number - 1 or tonumber(rest)
  if not n then raise("argument", "rewind", ("expected the number of a stop, got %q"):format(rest), ":stops lists them") end
  d:leave(n)
end

local function fork(d, rest)
  local _, place = at_stop(d, "fork")
  if place.rivals then return require("perilune.inside.token_stops").fork(d, place, rest) end
  if not d.base_cache then
    raise("state", "fork", "this pass keeps nothing to go on from", "m:debug(input, { cache = c }), or m:debug(prompt, { generate = {} })")
  end
  local name = rest == "" and "fork" or rest
  if not name:find "^[%a_][%w_]*$" then raise("argument", "fork", ("expected a name for the cache, got %q"):format(rest)) end
  d.host.outer[name] = d.base_cache:fork()
  d:say(("%s: a cache of %d positions, as before this pass: m:forward(ids, { cache = %s })"):format(name, d.base_cache.length, name))
end

local function leave(d)
  at_stop(d, "leave")
  d:leave()
end

local function token_command(name)
  return function(d, rest)
    local _, place = at_stop(d, name)
    if not place.rivals then raise("state", name, "no token is chosen at this stop", "m:debug(prompt, { generate = {} }) stops at tokens") end
    require("perilune.inside.token_stops")[name](d, place, rest)
  end
end

--- Commands by name: { usage=, text=, run=function(d, rest, name) }.
stop_commands.commands = {
  step = { usage = ":step [N]", text = "to the next op of the pass, into functions", run = going "step" },
  next = { usage = ":next [N]", text = "to the next op of this function; called functions run whole", run = going "next" },
  token = { usage = ":token [N]", text = "to the choice of the next token", run = going "token" },
  continue = { usage = ":continue", text = "to the next breakpoint, or to the end", run = going "run" },
  ["break"] = { usage = ":break [WHAT]", text = "stop at a path, an op, or `where EXPR` is true; alone: the list", run = add_break },
  unbreak = { usage = ":unbreak [N]", text = "take a breakpoint away; alone: all", run = remove_break },
  locals = { usage = ":locals", text = "the function's locals and what they hold", run = locals },
  up = { usage = ":up", text = "look from the function that called this one", run = move(1) },
  down = { usage = ":down", text = "back to the function that was called", run = move(-1) },
  where = { usage = ":where", text = "the functions that are running, and the source around", run = where },
  stops = { usage = ":stops", text = "the stops of this pass so far", run = stops },
  rewind = { usage = ":rewind [N]", text = "back to the stop before, or to stop N; what was changed is changed again", run = rewind },
  fork = { usage = ":fork [NAME|TOKENS]", text = "the cache before this pass, or how the text goes on with other tokens", run = fork },
  leave = { usage = ":leave", text = "give the pass up", run = leave },
  rivals = { usage = ":rivals [N]", text = "the likeliest tokens, before and after processors", run = token_command "rivals" },
  choose = { usage = ":choose TOKEN", text = "this token shall be the next: an id or a text", run = token_command "choose" },
}

return stop_commands
