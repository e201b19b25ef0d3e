-- Weights rounded with an eye on what layers are fed. GPTQ (Frantar et al. 2022) makes up for the error of each input with
-- those that follow; AWQ (Lin et al. 2023) scales the inputs that matter, so that their weights are rounded finely.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local kind = require "perilune.base.kind"
local calibration = require "perilune.quantization.calibration"
local layers = require "perilune.quantization.layers"
local finished = require "perilune.quantization.finished"
local loss = require "perilune.quantization.loss"
local quantize = require "perilune.loaded.quantize"

local search = {}

local function by_path(assignments)
  local of = {}
  for _, one in ipairs(assignments) do of[one.path] = one end
  return of
end

-- What f gives; nil where it is of formats whose codes are not chosen here.
local function try(f, ...)
  local fine, value = pcall(f, ...)
  if fine then return value end
  if type(value) == "table" and not kind.no_memory(value) and value.code == "unsupported" then return nil end
  return error(value, 0)
end

-- ---------------------------------------------------------------- GPTQ

--- Chooses the blocks of every assigned weight; each layer is fed by those before it as they are rounded.
---@param m Model the working model, whose weights become the rounded ones
---@param assignments table[] as quantize.assign gives them; get blocks= where their type's codes are chosen here
---@param rows integer[][] calibration
---@param o table { damping=, activation_order=, folder=, key= }
---@param tick fun(done: integer, total: integer) weights
function search.gptq(m, assignments, rows, o, tick)
  local of, checkpoint, done = by_path(assignments), rawget(m, "state_").checkpoint, 0
  local kept = finished.open(o.folder, o.key)
  local function blocks_of(one, moments)
    local w = layers.matrix(m, one.path)
    local blocks = try(core.gptq, one.storage, w, moments(), { damping = o.damping, activation_order = o.activation_order })
    w:free()
    if blocks then kept.write(one.path, { blocks = blocks }) end
    return blocks
  end
  local function each(path, _, moments)
    local one = of[path]
    of[path] = nil   -- a weight that is used twice is rounded for its first use
    local known = kept.read(path)
    one.blocks = known and known.blocks or blocks_of(one, moments)
    if one.blocks then checkpoint:store_blocks(path, one.storage, one.blocks) else checkpoint:store_as(path, one.storage) end
    done = done + 1
    tick(done, #assignments)
  end
  calibration.run(m, rows, function(path) return of[path] ~= nil end, each)
end

-- ---------------------------------------------------------------- AWQ

local exponents = { 0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.625, 0.75, 1 }
local most_tokens = 192   -- that scales are judged by
local widest = 64         -- times that a scale is from 1

-- Squared errors of what the layers give, as shares of each token's answer, when their weights are rounded after scaling:
-- a few tokens whose inputs are far larger than others' would decide alone otherwise.
local function losses_of(group, s)
  local losses = {}
  for i, one in ipairs(group) do
    local after = core.read_blocks(one.storage, core.write_blocks(one.storage, s and one.weight * s or one.weight), one.weight.shape.input)
    local d = one.x:matmul(one.weight - (s and after / s or after), { over = "input" })
    losses[i] = math.max((d * d):sum(), 1e-30)
  end
  return losses
end

-- The mean magnitude of each input to a power, so that the extremes are each other's reciprocals.
local function candidate(magnitude, exponent)
  local list, least, most = {}, math.huge, 0
  for i, v in ipairs(magnitude) do
    list[i] = math.max(v, 1e-4) ^ exponent
    least, most = math.min(least, list[i]), math.max(most, list[i])
  end
  local middle = math.sqrt(least * most)
  for i, v in ipairs(list) do list[i] = math.min(widest, math.max(1 / widest, v / middle)) end
  return core.tensor(list, { axes = { "input" } })
end

-- Scales of the inputs that lose least, all layers taken together, of those with which none loses more than without:
-- what a value gains does not make up for a query or key that errs more. nil where there are none such.
local function best_scales(group, x)
  local magnitude = x:abs():mean("token"):tolist()
  for _, one in ipairs(group) do
    local y = x:matmul(one.weight, { over = "input" })
    one.x = x / ((y * y):sum("output") + 1e-30):sqrt()
  end
  local plain, best, least = losses_of(group), nil, #group
  for _, exponent in ipairs(exponents) do
    local s, sum, worst = candidate(magnitude, exponent), 0, 0
    for i, lost in ipairs(losses_of(group, s)) do
      sum, worst = sum + lost / plain[i], math.max(worst, lost / plain[i])
    end
    if worst <= 1 and sum < least then best, least = s, sum end
  end
  return best
end

-- What a norm becomes when its outputs are divided: values by name, and the scales that its stored type makes of them.
local function divided(checkpoint, group, s)
  local one, path = group.plus_one and 1 or 0, group.norm .. ".weight"
  local before, values, probe = checkpoint:copy(path, { "input" }), {}, checkpoint:copy_all()
  probe:replace(path, (before + one) / s - one)
  values[path] = probe:copy(path, { "input" })
  local exact = (before + one) / (values[path] + one)
  local bias = group.norm .. ".bias"
  if checkpoint:sizes(bias) then values[bias] = checkpoint:copy(bias, { "input" }) / exact end
  return values, exact
end

-- Groups all of whose layers are assigned, by the path of each.
local function scalable(groups, of)
  local group_of = {}
  for _, group in ipairs(groups) do
    local all = true
    for _, path in ipairs(group.modules) do all = all and of[path] ~= nil end
    if all then for _, path in ipairs(group.modules) do group_of[path] = group end end
  end
  return group_of
end

--- Whether dividing norms and multiplying what reads them changes nothing: not where a norm's output goes elsewhere too.
---@param m Model
---@param copy fun(): Model one of the same weights, for trying
---@param groups table[] of calibration.norm_groups
---@param ids integer[]
---@return boolean
local function foldable(m, copy, groups, ids)
  local other = copy()
  local checkpoint = rawget(other, "state_").checkpoint
  for _, group in ipairs { groups[1], groups[2], groups[#groups] } do
    if group.tried then break end
    group.tried = true
    local values, exact = divided(checkpoint, group, core.tensor({ 0.5 }, { axes = { "input" } }))
    for name, value in pairs(values) do checkpoint:replace(name, value) end
    for _, module in ipairs(group.modules) do checkpoint:replace(module .. ".weight", layers.matrix(other, module) * exact) end
  end
  local s = rawget(other, "state_")
  s.programs, s.plans = {}, {}
  local before, after = m:forward({ ids }, { rows = "all" }).logits, other:forward({ ids }, { rows = "all" }).logits
  local same = after:close(before, 1e-2)
  layers.forget(other)
  return same
end

local judging_tokens = 512

-- Assignments with the scaled groups in `found`.
local function with_found(assignments, found)
  local list, blocks = {}, {}
  for _, tensors in ipairs(found) do
    for name, value in pairs(tensors) do
      local norm, module = name:match "^norm/(.*)", name:match "^blocks/(.*)"
      if norm then list[#list + 1] = { path = norm, values = value } end
      if module then blocks[module] = value end
    end
  end
  for _, one in ipairs(assignments) do list[#list + 1] = { path = one.path, storage = one.storage, blocks = blocks[one.path] } end
  return list
end

-- What was found for groups, by the kind of their norm, less the kinds without which the model diverges less on the
-- calibration: layers that lose less do not always make a model that does. Nothing where plain rounding is best.
local function worth_keeping(m, copy, assignments, groups, rows)
  local kinds, few, count = {}, {}, 0
  for _, row in ipairs(rows) do
    if count < judging_tokens then few[#few + 1], count = row, count + #row end
  end
  for _, group in ipairs(groups) do
    local sort = group.norm:gsub("%.%d+%.", ".*.")
    if group.found and not group.found.none then
      kinds[sort] = kinds[sort] or {}
      table.insert(kinds[sort], group.found)
    end
  end
  local names, whole = {}, loss.told(m, few)
  for sort in pairs(kinds) do names[#names + 1] = sort end
  table.sort(names)
  local function found_without(left_out)
    local list = {}
    for _, sort in ipairs(names) do
      for _, found in ipairs(sort ~= left_out and kinds[sort] or {}) do list[#list + 1] = found end
    end
    return list
  end
  local function divergence(found)
    local other = copy()
    quantize.apply(rawget(other, "state_"), with_found(assignments, found))
    local kl = loss.generator(other, whole, few, function() end).kl_mean
    layers.forget(other)
    return kl
  end
  local least = names[1] and divergence(found_without(nil))
  for _, sort in ipairs { unpack(names) } do
    local kl = divergence(found_without(sort))
    if kl < least then least, kinds[sort] = kl, {} end
  end
  return least and least <= divergence {} and found_without(nil) or {}
end

--- Scales the inputs of layers that norms feed, and rounds; the rest is rounded plainly.
---@param m Model the working model
---@param assignments table[] get blocks=, and new ones for norms with values=
---@param rows integer[][]
---@param o table { folder=, key=, copy= }
---@param tick fun(done: integer, total: integer)
function search.awq(m, assignments, rows, o, tick)
  local of, checkpoint, total = by_path(assignments), rawget(m, "state_").checkpoint, #assignments
  local kept, done = finished.open(o.folder, o.key), 0
  local few = {}
  for i = 1, math.min(8, #rows[1]) do few[i] = rows[1][i] end
  local groups = calibration.norm_groups(m, few)
  if not groups[1] or not foldable(m, o.copy, groups, few) then
    raise("unsupported", "quantize", "method awq: the layers of this family are fed by more than their norms", 'take method = "gptq"')
  end
  local group_of = scalable(groups, of)
  local function search_group(group, x)
    local list = {}
    for i, path in ipairs(group.modules) do list[i] = { storage = of[path].storage, weight = layers.matrix(m, path) } end
    local s, found = best_scales(list, calibration.thinned(x, most_tokens)), {}
    if s then
      local values, exact = divided(checkpoint, group, s)
      for name, value in pairs(values) do found["norm/" .. name] = value end
      for i, path in ipairs(group.modules) do found["blocks/" .. path] = core.write_blocks(list[i].storage, list[i].weight * exact) end
    else
      found.none = core.tensor({ 0 }, { axes = { "none" } })
    end
    for _, one in ipairs(list) do one.weight:free() end
    kept.write(group.norm, found)
    return found
  end
  local function each(path, x)
    local group = group_of[path]
    if group and not group.found then group.found = kept.read(group.norm) or search_group(group, x) end
    done = done + 1
    tick(done, total)
  end
  local seen = {}
  calibration.run(m, rows, function(path)
    local first = of[path] and not seen[path]
    seen[path] = true
    return first
  end, each)
  local chosen = with_found(assignments, worth_keeping(m, o.copy, assignments, groups, rows))
  for i, one in ipairs(chosen) do assignments[i] = one end
end

return search
