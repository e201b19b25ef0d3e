-- What pipelines over pictures share: a picture as a row, scores as a list of labels.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local pictures = require "perilune.run.pictures"

local picture_rows = {}

--- The picture of an input: a file's path or bytes, a tensor u8 [height, width, channel], { image= } or { pixels= }.
---@param p Pipeline
---@param input any
---@return Batch of one row
function picture_rows.batch(p, input)
  local given = input
  if type(input) == "string" or kind.of(input) == "Tensor" then given = { image = input } end
  if not pictures.are(given) or not pictures.single(given) then
    raise("argument", p.task, "expected a picture: a PNG or JPEG file's path, its bytes, a tensor or { image= }, got " .. options.show(input))
  end
  return (pictures.batch(p.model, given, p.task))
end

--- One row's job.
---@param p Pipeline
---@param input any
---@return table
function picture_rows.job(p, input) return { rows = { { input = picture_rows.batch(p, input) } } } end

return picture_rows
