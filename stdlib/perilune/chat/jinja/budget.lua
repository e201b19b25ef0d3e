-- What one rendering may cost. A template is data from a file: it may not run for ever, fill the
-- memory or recurse without end. One rendering at a time uses this; none starts inside another.
local budget = {}

local steps_left, bytes_limit, steps_limit = math.huge, math.huge, math.huge

-- Bytes of text that cost as much as one step.
local bytes_per_step = 256

--- How deep values, expressions and macro calls may nest.
budget.max_depth = 100

--- Sets the limits of the rendering that begins.
---@param steps integer
---@param bytes integer of output, and of any one text
function budget.begin(steps, bytes) steps_left, steps_limit, bytes_limit = steps, steps, bytes end

--- Raises what becomes the template's error.
---@param message string
---@param at integer|nil position in the source; nil: where the interpreter is
function budget.fail(message, at) error({ jinja = message, at = at }, 0) end

--- Takes steps from what is left.
---@param steps number
function budget.charge(steps)
  steps_left = steps_left - steps
  if steps_left < 0 then
    budget.fail(("the template took more than %d steps: it does not end, or it was made to be slow"):format(steps_limit))
  end
end

--- Takes the cost of a text of so many bytes, before it is made.
---@param bytes number
function budget.charge_bytes(bytes)
  if bytes > bytes_limit then budget.fail(("a text of more than %d bytes"):format(bytes_limit)) end
  budget.charge(bytes / bytes_per_step)
end

--- Raises when something nests too deeply.
---@param depth integer
function budget.check_depth(depth)
  if depth > budget.max_depth then budget.fail(("nested more than %d deep"):format(budget.max_depth)) end
end

return budget
