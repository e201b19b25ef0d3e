-- What chance would show: ids drawn near others, and how often numbers are above those that chance gave.
-- In most vocabularies a low id is a frequent piece, and frequent pieces are likely and lie near each other
-- whatever they mean. So each id is compared with ids near it, which are about as frequent.
local probe_chance = {}

--- A stream of numbers from 0 to below 1, the same on every machine.
---@param seed integer
---@return fun(): number
function probe_chance.numbers(seed)
  local state = seed
  return function()
    state = (state * 16807) % 2147483647
    return state / 2147483647
  end
end

--- Another id within 5 % of an id (8 at least).
---@param id integer
---@param rows integer ids are below
---@param number fun(): number
---@return integer
function probe_chance.near(id, rows, number)
  local width = math.max(8, math.floor(0.05 * id))
  local low, high = math.max(0, id - width), math.min(rows - 1, id + width)
  local other = low + math.floor(number() * (high - low))
  return other >= id and other + 1 or other
end

--- How often a number of `a` is above one of `b` (0.5 by chance; equal ones count half), and by how many
--- standard errors that differs from chance, where `b` holds `independent` numbers (default: all).
---@param a number[]
---@param b number[] sorted here
---@param independent integer|nil
---@return table { count=, auc=, z= }
function probe_chance.above(a, b, independent)
  if #a == 0 or #b == 0 then return { count = #a, auc = 0.5, z = 0 } end
  table.sort(b)
  local function below(x, strictly)
    local low, high = 1, #b + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if b[middle] < x or (not strictly and b[middle] == x) then low = middle + 1 else high = middle end
    end
    return low - 1
  end
  local sum = 0
  for _, x in ipairs(a) do sum = sum + (below(x, true) + below(x, false)) / 2 / #b end
  local auc = sum / #a
  return { count = #a, auc = auc, z = (auc - 0.5) * math.sqrt(12 / (1 / #a + 1 / (independent or #b))) }
end

return probe_chance
