-- Pictures of other sizes than a model was trained for (interpolate_pos_encoding of the published implementation): its
-- table of positions, a row for each patch of its own grid, resized to the grid that is asked for.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local family = require "perilune.loaded.family"
local preprocessor = require "perilune.loaded.preprocessor"

local picture_positions = {}

local option = "interpolate_pos_encoding"

local function bad(given)
  raise("option", "load", ("option %s: expected true, a number of pixels, or { height=, width= }, got %s"):format(option, options.show(given)))
end

-- Height and width that the option asks for, and whether it names them: true is what preprocessor_config.json makes.
local function wanted(s, given)
  if given == true then
    local recipe = preprocessor.of(s, "load")
    local size = recipe.crop or recipe.resize
    if not size or not size.height then
      raise("option", "load", ("option %s: preprocessor_config.json does not say one size for all pictures"):format(option),
        ("name it: %s = { height =, width = }"):format(option))
    end
    return size.height, size.width, false
  end
  local size = type(given) == "number" and { height = given, width = given } or given
  if type(size) ~= "table" then bad(given) end
  local o = options.check(size, { height = "positive", width = "positive" }, "load")
  if not o.height or not o.width or o.height > 65535 or o.width > 65535 then bad(given) end
  return o.height, o.width, true
end

-- A table with some keys changed.
local function with(t, changes)
  local out = {}
  for key, value in pairs(t or {}) do out[key] = value end
  for key, value in pairs(changes) do out[key] = value end
  return out
end

--- Lets a model be configured for pictures of the size that the option asks for.
---@param s table its state, configured as its files say
---@param given any the option's value
function picture_positions.choose(s, given)
  if given == nil or given == false then return end
  local before = s.c.position_table
  if not before then
    raise("option", "load", ("option %s: a %s model has no table of positions of patches"):format(option, s.family.name))
  end
  local height, width, named = wanted(s, given)
  if height < s.c.grid.patch or width < s.c.grid.patch then
    raise("option", "load", ("option %s: a picture of %dx%d holds no patch of %d"):format(option, height, width, s.c.grid.patch))
  end
  if named then s.picture_size = { height = height, width = width } end
  if height == s.c.axes.height and width == s.c.axes.width then return end
  local size, from = { image_size = { height, width } }, s.c.grid
  local part = before.part
  s.c = family.configure(s.family, part and with(s.config, { [part] = with(s.config[part], size) }) or with(s.config, size))
  s.picture_recipe, s.positions_from = nil, from
end

-- How much each of `from` places adds to each of `to`: [to, from] of a cubic through four neighbours (Keys 1981, with -0.75,
-- as PyTorch has it), whose outer ones are repeated at the ends.
local function cubic(to, from)
  local function near(x) return (1.25 * x - 2.25) * x * x + 1 end
  local function far(x) return ((-0.75 * x + 3.75) * x - 6) * x + 3 end
  local rows = {}
  for i = 0, to - 1 do
    local row = {}
    for k = 1, from do row[k] = 0 end
    local place = (i + 0.5) * from / to - 0.5
    local first = math.floor(place)
    local t = place - first
    for k, weight in ipairs { far(t + 1), near(t), near(1 - t), far(2 - t) } do
      local at = math.min(math.max(first + k - 2, 0), from - 1) + 1
      row[at] = row[at] + weight
    end
    rows[i + 1] = row
  end
  return rows
end

--- A table of positions in the places of another grid. What stands before the patches stays as it is.
---@param table_ Tensor [position, hidden]
---@param from table { rows=, columns=, before= }: the table's own
---@param to table the same of the grid that is wanted
---@return Tensor [position, hidden]
function picture_positions.resized(table_, from, to)
  local count = from.before + from.rows * from.columns
  local patches = table_:at { position = { from.before + 1, count } }:split_axis("position", { "row", "column" }, { row = from.rows })
  local down = core.tensor(cubic(to.rows, from.rows), { dtype = "f32", axes = { "new_row", "row" } })
  local across = core.tensor(cubic(to.columns, from.columns), { dtype = "f32", axes = { "new_column", "column" } })
  local out = down:matmul(patches:order("row", "column", "hidden"):merge({ "column", "hidden" }, "all"), { over = "row" })
  out = out:split_axis("all", { "column", "hidden" }, { column = from.columns }):order("column", "new_row", "hidden")
  out = across:matmul(out:merge({ "new_row", "hidden" }, "all"), { over = "column" })
  out = out:split_axis("all", { "new_row", "hidden" }, { new_row = to.rows }):order("new_row", "new_column", "hidden")
  out = out:merge({ "new_row", "new_column" }, "position")
  if from.before == 0 then return out end
  return core.cat({ table_:at { position = { 1, from.before } }, out }, "position")
end

--- Puts the resized table in the place of the stored one, where choose() found another size.
---@param s table
function picture_positions.interpolate(s)
  local from, to, where = s.positions_from, s.c.grid, s.c.position_table
  if not from then return end
  local sizes = s.checkpoint:sizes(where.name)
  if not sizes then return end   -- the trace says what is missing
  local rows = from.before + from.rows * from.columns
  if sizes[#sizes - 1] ~= rows then
    raise("shape", "load", ("config.json: a grid of %dx%d patches and %d before them does not fit %s [%s]"):format(from.rows, from.columns,
      from.before, where.name, table.concat(sizes, ", ")))
  end
  local own = s.checkpoint:copy(where.name, where.axes)
  local flat = #where.axes == 3 and own:at { [where.axes[1]] = 1 } or own
  local new = picture_positions.resized(flat, from, to)
  if #where.axes == 3 then new = new:merge({ "position", "hidden" }, "all"):split_axis("all", where.axes, { [where.axes[1]] = 1, hidden = sizes[3] }) end
  s.checkpoint:replace_table(where.name, new)
end

return picture_positions
