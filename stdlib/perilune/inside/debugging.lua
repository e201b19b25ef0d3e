-- m:debug: a pass that stops. It runs line by line; after every op of the family, and at every named tensor, it is asked
-- whether to stop there. Who asks for commands is handed in, so that a script may drive it as a person does.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local pass_runner = require "perilune.loaded.pass_runner"
local edits = require "perilune.inside.edits"
local frames = require "perilune.inside.frames"
local watched_net = require "perilune.inside.watched_net"
local breakpoints = require "perilune.inside.breakpoints"

local debugging = {}

local Debugging = {}
Debugging.__index = Debugging

-- Names of a stop that are no locals of the family.
local own_names = { t = true, path = true, op = true, step = true, ids = true, text = true, row = true, raw = true, id = true }

-- Raised through the pass to leave it; what arrives may be wrapped, so that `leaving` says whether it was this.
local leave = setmetatable({}, { __tostring = function() return "debug: the pass was left" end })

-- Modules by their stored and their canonical paths.
local function modules_of(s)
  local list = {}
  for _, name in ipairs(s.checkpoint:names()) do
    local module = name:gsub("%.[^.]+$", "")
    list[#list + 1] = module
    local number, rest = module:match "%f[%w](%d+)%.(.+)$"
    if number then list[#list + 1] = ("layers.%s.%s"):format(number, rest) end
  end
  return list
end

local ops = { "linear", "head", "embedding", "positions", "rms_norm", "layer_norm", "rope", "cached", "uncached", "cross", "attention",
  "relative_bias", "activation", "relu", "gelu", "silu", "tanh", "sigmoid", "softcap", "exp", "normalize", "select", "mean", "tensor", "token" }

--- A debugging of one call.
---@param m Model
---@param host table { ask=function(d) (returns when the pass shall go on), say=function(text), outer= (globals that lines see) }
---@return table
function debugging.new(m, host)
  local s = pass_runner.open(m, "debug")
  local known = { paths = (pass_runner.paths(s)), ops = ops, modules = modules_of(s) }
  return setmetatable({ model = m, host = host, known = known, breaks = {}, mode = "step", left = 1, count = 0, stops = {}, edits = edits.new() }, Debugging)
end

function Debugging:say(text) self.host.say(text) end

-- ---------------------------------------------------------------- what a line sees at a stop

--- A name at a place: what the stop calls so, a local of the chosen function or of one around it.
---@param place table
---@param name string
---@return boolean found
---@return any value
function Debugging:known_name(place, name)
  if own_names[name] and place[name] ~= nil then return true, place[name] end
  for i = place.frame or 1, #place.frames do
    local found, value = frames.get(place.frames[i], name)
    if found then return true, value end
  end
  return false
end

--- Writes a local; `t` replaces what the op gave.
---@param place table
---@param name string
---@param value any
---@return boolean known false: no local is called so
function Debugging:assign(place, name, value)
  if name == "t" and not place.rivals then
    place.t, place.changed = value, true
    self.edits:assigned(place, "t", value)
    return true
  end
  for i = place.frame or 1, #place.frames do
    if frames.set(place.frames[i], name, value) then
      self.edits:assigned(place, name, value, i)
      return true
    end
  end
  return false
end

--- The names that lines at a place see beside globals.
---@param place table
---@return string[]
function Debugging:names(place)
  local list = {}
  for name in pairs(own_names) do if place[name] ~= nil then list[#list + 1] = name end end
  for i = place.frame or 1, #place.frames do
    for _, one in ipairs(frames.locals(place.frames[i])) do list[#list + 1] = one[1] end
  end
  return list
end

--- What lines at a place read and write as globals.
---@param place table
---@return table
function Debugging:environment(place)
  local outer = self.host.outer
  return setmetatable({}, { __index = function(_, name)
    local found, value = self:known_name(place, name)
    if found then return value end
    return outer[name]
  end, __newindex = function(_, name, value) if not self:assign(place, name, value) then outer[name] = value end end })
end

-- ---------------------------------------------------------------- going on and stopping

-- The way of going on that was chosen, and how often.
function Debugging:due(place)
  if self.mode == "run" then return false end
  if self.mode == "token" and not place.rivals then return false end
  if self.mode == "next" and place.frames[1] and self.height and place.frames[1].height > self.height then return false end
  self.left = self.left - 1
  return self.left <= 0
end

function Debugging:broken(place)
  local environment
  for i, one in ipairs(self.breaks) do
    environment = environment or self:environment(place)
    if breakpoints.holds(one, place, environment) then return i end
  end
end

--- Called after every op and at every named tensor; asks where a stop is due.
---@param place table { op=, path=, t= }
---@return any t what goes on in the place of place.t, nil: what was given
function Debugging:visit(place)
  if self.leaving then error(leave, 0) end
  self.count = self.count + 1
  place.count, place.frames = self.count, frames.capture()
  if self.target then
    if place.count < self.target then self.edits:repeat_at(place) end
    if place.count ~= self.target then return place.changed and place.t or nil end
    self.target, place.again = nil, true
  end
  local which = not place.again and self:broken(place) or nil
  if place.again or which or self:due(place) then self:stop(place, which) end
  return place.changed and place.t or nil
end

function Debugging:stop(place, which)
  self.place, place.number = place, #self.stops + 1
  self.stops[place.number] = { count = place.count, path = place.path, op = place.op }
  if place.rivals then
    self:say(place.head)
  else
    local what = tostring(place.t):match "^[^\n]*"
    local frame = place.frames[1]
    self:say(("[%d] %s%s%s  %s"):format(place.number, which and ("break " .. self.breaks[which].text .. ": ") or "",
      place.op == "mark" and place.path or place.op .. " " .. place.path, frame and (" in %s, %s:%d"):format(frame.name, frame.short, frame.line) or "", what))
  end
  self.mode, self.left = "run", 1
  self.going = false
  self.edits:look(place)
  self.host.ask(self)
  self.edits:written(place)
  self.place = nil
  if self.leaving then error(leave, 0) end
end

--- Says how to go on from the stop; the host's `ask` returns then.
---@param mode string "step" (the next op), "next" (the next in this function), "token" or "run"
---@param times integer|nil
function Debugging:go_on(mode, times)
  if mode == "next" and self.place and self.place.rivals then mode = "token" end
  self.mode, self.left, self.going = mode, times or 1, true
  self.height = self.place and self.place.frames[1] and self.place.frames[1].height
end

--- Leaves the pass; it is run again up to a stop when one is given.
---@param stop integer|nil number of an earlier stop
function Debugging:leave(stop)
  if stop then
    local target = self.stops[stop]
    if not target then
      raise("argument", "rewind", ("there is no stop %d"):format(stop), ("stops go from 1 to %d; :stops lists them"):format(#self.stops))
    end
    self.again = { count = target.count, number = stop }
  end
  self.leaving, self.going = true, true
end

--- Adds a breakpoint.
---@param text string a path, an op, "where EXPRESSION"
function Debugging:add_break(text) self.breaks[#self.breaks + 1] = breakpoints.read(text, self.known) end

-- ---------------------------------------------------------------- the call

-- The model as it is debugged: every pass of it asks here.
function Debugging:watched_model()
  return pass_runner.observed(self.model, {
    wrap = function(net)
      return watched_net(net, function(place) return self:visit(place) end)
    end,
    mark = function(path, t) return self:visit { op = "mark", path = path, t = t } end,
  })
end

-- Prepares the pass to be run once more, up to the stop that was asked for.
function Debugging:rewind()
  local again = self.again
  self.edits:forget_from(again.count)
  for i = #self.stops, again.number, -1 do self.stops[i] = nil end
  self.target, self.again, self.leaving, self.count, self.mode = again.count, nil, nil, 0, "run"
end

--- Runs a call of the watched model, again where it is rewound.
---@param call fun(watched: Model): any
---@return any what the call gives, nil where it was left
function Debugging:run(call)
  local watched = self:watched_model()
  while true do
    local fine, result = pcall(call, watched)
    if not self.leaving then
      if not fine then error(result, 0) end
      for _, one in ipairs(self.breaks) do
        if one.problem then self:say(("break %s: never known: %s"):format(one.text, one.problem)) end
      end
      return result
    end
    collectgarbage()   -- what the pass had reserved is given back with it
    if not self.again then return nil end
    self:rewind()
  end
end

-- ---------------------------------------------------------------- driven by a list

-- Asks a list of commands, one after the other; after the last the pass runs to its end.
local function list_host(list, run_line)
  local at, transcript = 0, setmetatable({}, { __tostring = function(lines) return table.concat(lines, "\n") end })
  local host = { say = function(text) transcript[#transcript + 1] = text end, outer = setmetatable({}, { __index = _G }) }
  function host.ask(d)
    while not d.going do
      at = at + 1
      local command = list[at]
      if command == nil then
        d.breaks = {}
        return d:go_on "run"
      end
      if type(command) == "function" then command = command(d:environment(d.place), d.place) end
      if type(command) == "string" then
        local fine, err = pcall(run_line, d, command)
        if not fine then raise(type(err) == "table" and err.code or "argument", "debug", ("command %d, %s: %s"):format(at, command, tostring(err))) end
      end
    end
  end
  return host, transcript
end

--- One call of a model that stops. Without commands in `opts` a person is asked (in a session only).
---@param m Model
---@param input any
---@param opts table|nil commands as a list, generate= (options of m:generate, or true), else options of m:forward
---@return any result of m:forward or m:generate; nil when it was left
---@return string[]|nil transcript what the commands printed; with a person there is none
function debugging.debug(m, input, opts)
  pass_runner.open(m, "debug")
  if opts ~= nil and type(opts) ~= "table" then options.check(opts, {}, "debug") end
  local commands, given, generate = {}, {}, nil
  for key, value in pairs(opts or {}) do
    if type(key) == "number" then commands[key] = value elseif key == "generate" then generate = value else given[key] = value end
  end
  for i, command in ipairs(commands) do
    if type(command) ~= "string" and type(command) ~= "function" then
      raise("argument", "debug", ("command %d: expected a text or a function, got %s"):format(i, options.show(command)))
    end
  end
  local stop_lines = require "perilune.inside.stop_lines"
  local host, transcript = debugging.host, nil
  if #commands > 0 or not host then
    if #commands == 0 then
      raise("state", "debug", "there is nobody to ask: without commands m:debug works at the prompt of the perilune program",
        'in a script give them: m:debug(input, { ":break layers.0.mlp", ":continue", "t:mean()" }); m:trace and m:hook see the same tensors')
    end
    host, transcript = list_host(commands, stop_lines.run)
  end
  local d = debugging.new(m, host)
  d.base_cache = given.cache and given.cache:fork()
  local function call(watched) return watched:forward(input, given) end
  if generate then
    d.mode = "token"
    local tokens = require "perilune.inside.token_stops"
    function call(watched) return watched:generate(input, tokens.options(d, input, generate, given)) end
  end
  local result = d:run(call)
  if transcript then return result, transcript end
  if result ~= nil then return result end
end

return debugging
