-- `loop` inside a for.
local values = require "perilune.chat.jinja.values"
local budget = require "perilune.chat.jinja.budget"
local bind = require "perilune.chat.jinja.bind"

local loops = {}

local fields = {
  index = function(loop) return loop.index end,
  index0 = function(loop) return loop.index - 1 end,
  revindex = function(loop) return #loop.items - loop.index + 1 end,
  revindex0 = function(loop) return #loop.items - loop.index end,
  first = function(loop) return loop.index == 1 end,
  last = function(loop) return loop.index == #loop.items end,
  length = function(loop) return #loop.items end,
  depth = function(loop) return loop.depth end,
  depth0 = function(loop) return loop.depth - 1 end,
}

function fields.previtem(loop)
  if loop.index == 1 then return values.undefined "there is no previous item" end
  return loop.items[loop.index - 1]
end

function fields.nextitem(loop)
  if loop.index == #loop.items then return values.undefined "there is no next item" end
  return loop.items[loop.index + 1]
end

function fields.cycle(loop)
  return values.func("cycle", function(arguments)
    if #arguments == 0 then budget.fail "no items for cycling given" end
    return arguments[(loop.index - 1) % #arguments + 1]
  end)
end

function fields.changed(loop)
  return values.func("changed", function(arguments)
    local now = values.sequence(arguments, "tuple")
    if loop.seen and values.equal(loop.seen, now) then return false end
    loop.seen = now
    return true
  end)
end

--- The state of one loop.
---@param items any[]
---@param depth integer
---@return table
function loops.new(items, depth) return { items = items, depth = depth, index = 0 } end

--- What the name `loop` is: its fields, and in a recursive loop a function of more items.
---@param loop table
---@return table
function loops.object(loop)
  local object = values.func("loop", function(arguments, named)
    if not loop.again then budget.fail "the loop must have the 'recursive' marker to be called recursively" end
    return loop.again(bind.names("loop", { "iterable" }, 1, arguments, named).iterable)
  end)
  object.members = function(name) return fields[name] and fields[name](loop) end
  return object
end

return loops
