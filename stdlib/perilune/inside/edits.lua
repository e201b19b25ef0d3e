-- What was changed at the stops of a pass, to change it again when the pass is run anew up to a later stop: names that got
-- other values, and tensors that were written into (t:set, row:set).
local frames = require "perilune.inside.frames"
local kind = require "perilune.base.kind"

local edits = {}

local Edits = {}
Edits.__index = Edits

--- No changes yet.
---@return table
function edits.new() return setmetatable({ list = {}, before = {} }, Edits) end

-- The tensors that names at a place hold: { name=, frame= (nil: the stop's own), t= }.
local function tensors(place)
  local list = {}
  if kind.of(place.t) == "Tensor" then list[1] = { name = "t", t = place.t } end
  for i, frame in ipairs(place.frames) do
    for _, one in ipairs(frames.locals(frame)) do
      if kind.of(one[2]) == "Tensor" then list[#list + 1] = { name = one[1], frame = i, t = one[2] } end
    end
  end
  return list
end

--- A name got another value.
---@param place table
---@param name string
---@param value any
---@param frame integer|nil of place.frames; nil for the stop's own `t`
function Edits:assigned(place, name, value, frame)
  self.list[#self.list + 1] = { count = place.count, name = name, value = value, frame = frame }
end

--- A stop begins: what its tensors hold is kept, to know at its end what was written.
---@param place table
function Edits:look(place)
  self.before = tensors(place)
  for _, one in ipairs(self.before) do one.held = one.t:copy() end
end

--- A stop ends.
---@param place table
function Edits:written(place)
  for _, one in ipairs(self.before) do
    if not one.t:equal(one.held) then
      self.list[#self.list + 1] = { count = place.count, name = one.name, frame = one.frame, written = one.t:copy():detach() }
    end
  end
  self.before = {}
end

--- Makes the changes of an earlier run at this place again: first those of tensors, which were the ones that the names held
--- when the stop began.
---@param place table
function Edits:repeat_at(place)
  local here = {}
  for _, edit in ipairs(self.list) do if edit.count == place.count then here[#here + 1] = edit end end
  if #here == 0 then return end
  local held = {}
  for _, one in ipairs(tensors(place)) do held[one.name .. "/" .. (one.frame or 0)] = one.t end
  for _, edit in ipairs(here) do
    local t = edit.written and held[edit.name .. "/" .. (edit.frame or 0)]
    if t then t:set(edit.written) end
  end
  for _, edit in ipairs(here) do
    if edit.written == nil and not edit.frame then
      place.t, place.changed = edit.value, true
    elseif edit.written == nil and place.frames[edit.frame] then
      frames.set(place.frames[edit.frame], edit.name, edit.value)
    end
  end
end

--- Forgets what was changed at a place and behind it.
---@param count integer of the place
function Edits:forget_from(count)
  local kept = {}
  for _, edit in ipairs(self.list) do if edit.count < count then kept[#kept + 1] = edit end end
  self.list = kept
end

return edits
