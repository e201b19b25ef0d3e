-- Where nobody speaks: silence that need not be listened to, and the quietest place to cut at.
local quiet = {}

local block = 1600           -- samples: a tenth of a second
local frame = 160
local silent = 0.002         -- of full scale: -54 dB

local function peak(samples, first, last) return samples:at { sample = { first, last } }:abs():max() end

--- Samples before the first that can be heard, in whole tenths of a second; all of them in silence.
---@param samples Tensor [sample]
---@return integer
function quiet.before(samples)
  local count = samples.shape.sample
  for first = 1, count, block do
    if peak(samples, first, math.min(first + block - 1, count)) >= silent then return first - 1 end
  end
  return count
end

--- The middle of the quietest fifth of a second in the last third of these samples.
---@param samples Tensor [sample]
---@return integer samples before it, whole frames
function quiet.cut(samples)
  local count = samples.shape.sample
  local best, where = math.huge, count
  for first = math.floor(count * 2 / 3) + 1, count - 2 * block + 1, block do
    local part = samples:at { sample = { first, first + 2 * block - 1 } }
    local power = (part * part):mean()
    if power < best then best, where = power, first + block - 1 end
  end
  return math.floor(where / frame) * frame
end

return quiet
