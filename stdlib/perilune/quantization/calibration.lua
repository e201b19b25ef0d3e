-- What layers are fed: second moments of their inputs, and which norm an input comes from.
local core = require "perilune.core"
local layers = require "perilune.quantization.layers"
local pass_runner = require "perilune.loaded.pass_runner"

local calibration = {}

--- The sum of x x^T over rows [token, input]: [input, other], f32.
---@param x Tensor
---@return Tensor
function calibration.moments(x)
  return x:matmul(x:rename { input = "other" }, { over = "token" }):order("input", "other")
end

--- Every few rows of x, so that about so many are left.
---@param x Tensor [token, input]
---@param most integer
---@return Tensor
function calibration.thinned(x, most)
  local step = math.ceil(x.shape.token / most)
  if step <= 1 then return x end
  local parts = {}
  for i = 1, x.shape.token, step do parts[#parts + 1] = x:at { token = { i, i } } end
  return core.cat(parts, "token")
end

--- Runs rows through a model line by line and tells of every product before it is computed, with the moments of its
--- inputs; products that read the same inputs share them.
---@param m Model
---@param rows integer[][]
---@param wanted fun(module: string): boolean whose products are told of
---@param each fun(module: string, x: Tensor [token, input], moments: fun(): Tensor)
function calibration.run(m, rows, wanted, each)
  local last, moments
  local function before(use)
    if not wanted(use.module) then return end
    local x = layers.inputs(use)
    local function get()
      if not rawequal(last, use.x) then last, moments = use.x, calibration.moments(x) end
      return moments
    end
    each(use.module, x, get)
  end
  pass_runner.observed(m, { before = before }):forward(rows, { rows = "all" })
end

--- Norms whose outputs products read and nothing else does: what divides the norm's weight may multiply theirs.
---@param m Model
---@param ids integer[] a short row
---@return table[] list of { norm= (path), plus_one=, modules={ … } } in the order they are computed
function calibration.norm_groups(m, ids)
  local list, current = {}, nil
  local function norm(y, path, _, o)
    current = { norm = path, plus_one = type(o) == "table" and o.plus_one or false, modules = {}, y = y }
    list[#list + 1] = current
  end
  local function before(use)
    for i = #list, 1, -1 do
      local group = list[i]
      if rawequal(group.y, use.x) then group.modules[#group.modules + 1] = use.module return end
    end
  end
  pass_runner.observed(m, { before = before, norm = norm }):forward({ ids }, { rows = "all" })
  local groups = {}
  for _, group in ipairs(list) do
    group.y = nil
    if group.modules[1] then groups[#groups + 1] = group end
  end
  return groups
end

return calibration
