-- Every op of a pass, in the order it ran: what it was, where in the family, what it gave.
local pass_runner = require "perilune.loaded.pass_runner"
local kind = require "perilune.base.kind"
local watched_net = require "perilune.inside.watched_net"

local recording = {}

local function source_line()
  for level = 3, 30 do
    local info = debug.getinfo(level, "Sl")
    if not info or info.source:find "perilune/loaded/passes.lua" then return nil end
    local between = info.what == "C" or info.source:find "perilune/inside/" or info.source:find "perilune/loaded/"
    if not between then return (info.short_src:match "[^/]+$") .. ":" .. info.currentline end
  end
end

--- Runs a call of a model and tells of every op that gave a tensor, and of every named tensor.
---@param m Model
---@param call fun(watched: Model): any
---@param tell fun(place: table) { op=, path=, line=, t= }
---@return any what the call gives
function recording.run(m, call, tell)
  local function visit(place)
    if kind.of(place.t) ~= "Tensor" then return nil end
    place.line = source_line()
    tell(place)
  end
  local watched = pass_runner.observed(m, {
    wrap = function(net) return watched_net(net, visit) end,
    mark = function(path, t) visit { op = "mark", path = path, t = t } end,
  })
  return call(watched)
end

return recording
