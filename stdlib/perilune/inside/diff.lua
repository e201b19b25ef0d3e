-- pl.diff: two runs op by op, and where they part first.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local columns = require "perilune.base.columns"
local recording = require "perilune.inside.recording"

local diff = {}

-- A run: a Model, or { model, input=, hooks={ path → function } }.
local function read_run(run, o, name)
  if kind.of(run) == "Model" then run = { run } end
  if type(run) ~= "table" or kind.of(run) or kind.of(run[1] or run.model) ~= "Model" then
    raise("argument", "diff", ("%s: expected a Model or { model, input=, hooks= }, got %s"):format(name, options.show(run)))
  end
  for key in pairs(run) do
    if key ~= 1 and key ~= "model" and key ~= "input" and key ~= "hooks" then
      raise("option", "diff", ("%s: unknown key %s"):format(name, options.show(key)), core.did_you_mean(tostring(key), { "model", "input", "hooks" }))
    end
  end
  local input = run.input
  if input == nil then input = o.input end
  if input == nil then raise("argument", "diff", name .. " has no input", "pl.diff(a, b, { input = text })") end
  return { model = run[1] or run.model, input = input, hooks = run.hooks or {} }
end

-- Ops of a run in order, as f32 on the host; `each` is told of one at a time.
local function go(run, o, each)
  local handles = {}
  for path, f in pairs(run.hooks) do handles[#handles + 1] = run.model:hook(path, f) end
  local seen = {}
  local fine, result = pcall(recording.run, run.model, function(watched) return watched:forward(run.input, { rows = o.rows }) end, function(place)
    local key = place.op .. " " .. place.path
    seen[key] = (seen[key] or 0) + 1
    each(key .. " " .. seen[key], place)
  end)
  for _, handle in ipairs(handles) do handle:remove() end
  if not fine then error(result, 0) end
end

local function same_shape(a, b)
  if a.rank ~= b.rank then return false end
  for i, axis in ipairs(a.shape) do
    if axis.name ~= b.shape[i].name or axis.size ~= b.shape[i].size then return false end
  end
  return true
end

local function compared(row, a, b)
  if not same_shape(a, b) then
    row.problem = ("%s and %s"):format(tostring(a.shape), tostring(b.shape))
    return
  end
  local x, y = a:to("cpu"):to("f32"):detach(), b:to("cpu"):to("f32"):detach()
  local apart = x - y
  row.difference = x:max_difference(y)
  local size = x:norm()
  row.relative = size > 0 and apart:norm() / size or apart:norm()
  if row.difference ~= row.difference then row.relative = row.difference end
end

local function as_text(d)
  local rows, shown, equal = { { "op", "path", "difference", "relative", "line" } }, 0, 0
  for _, row in ipairs(d) do
    if row.number < (d.first and d.first.number or 0) and row.difference == 0 then
      equal = equal + 1
    elseif row == d.first or row.op == "mark" or row.problem then
      shown = shown + 1
      rows[#rows + 1] = { row.op == "mark" and "=" or row.op, row.path, row.problem or ("%.3g"):format(row.difference),
        row.relative and ("%.3g"):format(row.relative) or "", (row.line or "") .. (row == d.first and "  <- they part here" or "") }
    end
  end
  local head = d.first and ("they part first at %s %s (%d of %d)"):format(d.first.op == "mark" and "tensor" or d.first.op, d.first.path, d.first.number, #d)
    or ("equal in all of %d ops"):format(#d)
  if not d.first then return head end
  local left = #d - shown - equal
  if equal > 0 then head = ("%s; the %d before it are equal"):format(head, equal) end
  local rest = left > 0 and ("\n(%d ops between named tensors are in the list)"):format(left) or ""
  return head .. "\n" .. columns.text(rows, { [3] = true, [4] = true }) .. rest
end

--- Two runs op by op, in the order of the first: how far their tensors are apart, and where they part first. A run is a
--- model (another dtype, quantized, on another device, other weights), or { model, input=, hooks={ path → function } }.
---
---     local m = pl.load("scripts/models/tales", { compute = "f32" })
---     local d = pl.diff(m, { m, hooks = { ["layers.2.mlp"] = function(t) return t * 2 end } }, { input = "Once upon" })
---     print(d.first.path, d.first.difference > 0)                           --> layers.2.mlp	true
---@param a Model|table
---@param b Model|table
---@param opts table|nil { input=, tolerance=0, rows= }
---@return table list of { op=, path=, difference=, relative=, line= }; first=, only_first=, only_second=; prints as a table
function diff.diff(a, b, opts)
  local o = options.check(opts, { input = "any", tolerance = "number", rows = "string|table" }, "diff")
  local first, second = read_run(a, o, "the first run"), read_run(b, o, "the second run")
  local kept = {}
  go(first, o, function(key, place) kept[#kept + 1] = { key = key, op = place.op, path = place.path, line = place.line, t = place.t } end)
  local others = {}
  local by_key = {}
  for _, one in ipairs(kept) do by_key[one.key] = one end
  go(second, o, function(key, place)
    local one = by_key[key]
    if one then compared(one, one.t, place.t) else others[#others + 1] = place.op .. " " .. place.path end
  end)
  local result = { only_second = others, only_first = {} }
  for _, one in ipairs(kept) do
    one.t, one.key = nil, nil
    if one.difference == nil and not one.problem then
      result.only_first[#result.only_first + 1] = one.op .. " " .. one.path
    else
      result[#result + 1] = one
      one.number = #result
      local parts = one.problem or one.difference ~= one.difference or one.difference > (o.tolerance or 0)
      if parts and not result.first then result.first = one end
    end
  end
  return setmetatable(result, { __tostring = as_text })
end

return diff
