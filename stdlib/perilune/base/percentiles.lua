-- Percentiles of a list of numbers, by nearest rank: each is one of the numbers.
local percentiles = {}

--- The number that this share of all does not exceed; 0 for none.
---@param sorted number[] ascending
---@param share number 0..1
---@return number
function percentiles.at(sorted, share)
  return sorted[math.max(1, math.ceil(share * #sorted))] or 0
end

--- The middle one and the 99th percentile.
---@param list number[]
---@return table { p50=, p99= }
function percentiles.of(list)
  local sorted = {}
  for i, value in ipairs(list) do sorted[i] = value end
  table.sort(sorted)
  return { p50 = percentiles.at(sorted, 0.5), p99 = percentiles.at(sorted, 0.99) }
end

return percentiles
