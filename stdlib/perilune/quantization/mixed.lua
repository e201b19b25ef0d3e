-- A type for each layer by what it is measured to cost: the budget is spent where it saves most.
--
-- What a layer costs in a type is a Kullback-Leibler divergence: measured in one type, with all other layers whole, and
-- taken to the other types by the squared error of what the layer answers there. Costs of layers add up, near enough.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local byte_count = require "perilune.base.byte_count"
local columns = require "perilune.base.columns"
local quantize = require "perilune.loaded.quantize"
local calibration = require "perilune.quantization.calibration"
local layers = require "perilune.quantization.layers"
local loss = require "perilune.quantization.loss"

local mixed = {}

-- Types that are tried, by the names of m:quantize; what a layer's rows do not fit is passed over.
local candidates = {
  { type = "q3_k" }, { type = "int4", group = 128 }, { type = "int4", group = 32 }, { type = "q4_0" }, { type = "iq4_nl" },
  { type = "q4_1" }, { type = "q5_0" }, { type = "q5_1" }, { type = "q6_k" }, { type = "q8_0" },
}
local type_tokens = 128 -- that errors of types are of
local probe_bits = 5   -- the type that layers are probed with has fewer

local sample_tokens, slack = 512, 1.02

--- Bits of a weight in a storage.
local function bits_of(blocks, w) return 8 * blocks.bytes / (w.shape.output * w.shape.input) end

-- Squared errors of what a layer answers in every type, and the type's bytes.
local function measure_types(w, x, storages)
  local list = {}
  for _, one in ipairs(storages) do
    local blocks = core.write_blocks(one.storage, w)
    local d = x:matmul(w - core.read_blocks(one.storage, blocks, w.shape.input), { over = "input" })
    list[#list + 1] = { choice = one.choice, storage = one.storage, bytes = blocks.bytes, bits = bits_of(blocks, w), error = (d * d):sum() }
    blocks:free()
  end
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes < b.bytes end
    return a.error < b.error
  end)
  return list
end

-- Of types in the order of their bytes those that nothing smaller betters and that lie on the lower hull of error over
-- bytes: what a budget that is spent step by step passes through.
local function hull(list)
  local kept = {}
  for _, one in ipairs(list) do
    local best = kept[#kept]
    if not best or one.cost < best.cost and one.bytes > best.bytes then
      while #kept >= 2 do
        local a, b = kept[#kept - 1], kept[#kept]
        if (a.cost - b.cost) * (one.bytes - b.bytes) > (b.cost - one.cost) * (b.bytes - a.bytes) then break end
        kept[#kept] = nil
      end
      kept[#kept + 1] = one
    end
  end
  return kept
end

-- The type that a layer is probed with: the best of those with few bits.
local function probe_of(list)
  local found
  for _, one in ipairs(list) do
    if one.bits < probe_bits and (not found or one.error < found.error) then found = one end
  end
  return found or list[1]
end

--- Measures every layer: its types with bytes and cost, cheapest first.
---@param m Model the working model, whole
---@param copy fun(): Model another of the same weights
---@param weights table[] list of { path=, storages= (list of { choice=, storage= }) }
---@param rows integer[][]
---@param tick fun(done: integer, total: integer)
---@return table[] list of { path=, types=, sensitivity= (KL of the probe), probe= (its storage) }
local function measure(m, copy, weights, rows, tick)
  local of, list, few, count = {}, {}, {}, 0
  for _, one in ipairs(weights) do of[one.path] = one end
  for _, row in ipairs(rows) do
    if count < sample_tokens then few[#few + 1], count = row, count + #row end
  end
  local function each(path, x)
    local w = layers.matrix(m, path)
    x = calibration.thinned(x, type_tokens)
    local layer = { path = path, types = measure_types(w, x, of[path].storages) }
    of[path], list[#list + 1] = nil, layer
    w:free()
    tick(#list, 2 * #weights)
  end
  calibration.run(m, few, function(path) return of[path] ~= nil end, each)
  local whole = loss.told(m, few)
  for i, layer in ipairs(list) do
    local other, probe = copy(), probe_of(layer.types)
    quantize.apply(rawget(other, "state_"), { { path = layer.path, storage = probe.storage } })
    layer.sensitivity, layer.probe = loss.generator(other, whole, few, function() end).kl_mean, probe.storage
    layers.forget(other)
    for _, one in ipairs(layer.types) do
      one.cost = probe.error > 0 and layer.sensitivity * one.error / probe.error or 0
    end
    layer.types = hull(layer.types)
    tick(#weights + i, 2 * #weights)
  end
  return list
end

-- Steps from each layer's smallest type to its next, the one that saves most for a byte first.
local function steps_of(list)
  local steps = {}
  for _, layer in ipairs(list) do
    for i = 2, #layer.types do
      local a, b = layer.types[i - 1], layer.types[i]
      steps[#steps + 1] = { layer = layer, to = i, bytes = b.bytes - a.bytes, saved = a.cost - b.cost }
    end
  end
  table.sort(steps, function(a, b)
    local left, right = a.saved * b.bytes, b.saved * a.bytes
    if left ~= right then return left > right end
    if a.layer.path ~= b.layer.path then return a.layer.path < b.layer.path end
    return a.to < b.to
  end)
  return steps
end

--- Chooses types by costs: all at their smallest, then steps while `go_on(bytes, cost)` says so of what would be.
---@param list table[] as measure gives it
---@param fits fun(bytes: number): boolean|nil for a budget of bytes
---@param enough fun(cost: number): boolean|nil for a bound of the cost
---@return table chosen path → type
---@return number bytes
---@return number cost
function mixed.allocate(list, fits, enough)
  local at, bytes, cost = {}, 0, 0
  for _, layer in ipairs(list) do
    at[layer] = 1
    bytes, cost = bytes + layer.types[1].bytes, cost + layer.types[1].cost
  end
  for _, step in ipairs(steps_of(list)) do
    if enough and enough(cost) then break end
    if at[step.layer] == step.to - 1 and (not fits or fits(bytes + step.bytes)) then
      at[step.layer], bytes, cost = step.to, bytes + step.bytes, cost - step.saved
    end
  end
  local chosen = {}
  for layer, i in pairs(at) do chosen[layer.path] = layer.types[i] end
  return chosen, bytes, cost
end

local function plan_text(plan)
  local rows = { { "layer", "type", "bytes", "sensitivity", "share of the loss" } }
  for i, one in ipairs(plan.layers) do
    rows[i + 1] = { one.path, one.storage:lower(), byte_count.text(one.bytes), ("%.2e"):format(one.sensitivity),
      ("%.1f %%"):format(100 * one.cost / math.max(plan.cost, 1e-300)) }
  end
  return ("%s of layers; KL divergence %.4f measured, %.4f foretold\nsensitivity: the KL divergence of that layer alone in few bits\n%s"):format(
    byte_count.text(plan.bytes), plan.kl, plan.cost, columns.text(rows))
end

-- The divergence of a choice, measured.
local function measured(m, copy, chosen, rows)
  local other = copy()
  local list = {}
  for path, one in pairs(chosen) do list[#list + 1] = { path = path, storage = one.storage } end
  quantize.apply(rawget(other, "state_"), list)
  local kl = loss.generator(other, m, rows, function() end).kl_mean
  layers.forget(other)
  return kl
end

--- Types within a budget of bytes of layers, or the fewest bytes within a divergence.
---@param m Model the working model
---@param copy fun(): Model
---@param weights table[] as measure takes them
---@param rows integer[][]
---@param o table { bytes= (of these layers), kl= }
---@param tick fun(done: integer, total: integer)
---@return table plan { layers={ { path=, choice=, storage=, bytes=, cost=, sensitivity= }, … } in order, bytes=, cost=, kl= }; prints
function mixed.plan(m, copy, weights, rows, o, tick)
  local list = measure(m, copy, weights, rows, tick)
  local chosen, bytes, cost, kl
  if o.bytes then
    chosen, bytes, cost = mixed.allocate(list, function(sum) return sum <= o.bytes end)
    if bytes > o.bytes then
      raise("option", "quantize", ("option bytes: the layers take at least %s"):format(byte_count.text(bytes)), "give them more")
    end
    kl = measured(m, copy, chosen, rows)
  else
    local target = o.kl
    for _ = 1, 6 do
      chosen, bytes, cost = mixed.allocate(list, nil, function(sum) return sum <= target end)
      kl = measured(m, copy, chosen, rows)
      if kl <= o.kl then break end
      target = target * math.min(0.8, o.kl / kl / slack)   -- layers cost more together than by themselves
    end
    if kl > o.kl then
      raise("option", "quantize", ("option kl: %g is less than the widest types lose (%.3g)"):format(o.kl, kl), "allow more")
    end
  end
  local plan = { layers = {}, bytes = bytes, cost = cost, kl = kl }
  for i, layer in ipairs(list) do
    local one = chosen[layer.path]
    plan.layers[i] = { path = layer.path, choice = one.choice, storage = one.storage, bytes = one.bytes, cost = one.cost,
      sensitivity = layer.sensitivity, probe = layer.probe }
  end
  return setmetatable(plan, { __tostring = plan_text })
end

--- The types that are tried, as recipes name them.
---@return table[]
function mixed.candidates() return candidates end

return mixed
