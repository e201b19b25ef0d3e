-- What every layer lost: of its weights, and of what it answers to the reference's own inputs.
local pass_runner = require "perilune.loaded.pass_runner"

local layers = {}

local most_tokens = 128   -- inputs that a layer's output is judged by

--- A weight as a matrix [output, input], f32.
---@param m Model
---@param module string
---@return Tensor
function layers.matrix(m, module)
  local w = m:weight(module)
  return w:rename { [w.shape[1].name] = "output", [w.shape[2].name] = "input" }
end

--- Gives back what a model that was only tried has for itself. Lua does not know how much that is, so that it would let
--- several stand beside each other.
---@param m Model
function layers.forget(m)
  m:close()
  collectgarbage()
  collectgarbage()   -- what the first finds may hold more
end

--- The inputs of a product as [token, input].
---@param use table as observed_net tells it
---@return Tensor
function layers.inputs(use)
  local x, summed, rest = use.x:detach():to("f32"), {}, {}
  for _, name in ipairs(use.over) do summed[name] = true end
  for _, axis in ipairs(x.shape) do if not summed[axis.name] then rest[#rest + 1] = axis.name end end
  if #use.over > 1 then x = x:merge(use.over, "input") else x = x:rename { [use.over[1]] = "input" } end
  if #rest > 1 then return x:merge(rest, "token") end
  return rest[1] == "token" and x or x:rename { [rest[1]] = "token" }
end

local function length(t) return math.sqrt((t * t):sum()) end

-- |a - b| / |b|; nothing of nothing is 0.
local function relative(difference, whole)
  if difference == 0 then return 0 end
  return whole > 0 and difference / whole or math.huge
end

--- Relative errors of a weight and of what it gives for these inputs; 0 exactly where nothing differs.
---@param before Tensor [output, input]
---@param after Tensor the same sizes
---@param x Tensor|nil [token, input]
---@param y_length number|nil Euclidean length of the reference's outputs, of before where it is nil
---@return number weight
---@return number output
function layers.errors(before, after, x, y_length)
  if before:equal(after) then return 0, 0 end
  local difference = before - after
  local weight = relative(length(difference), length(before))
  if not x then return weight, weight end
  local output = relative(length(x:matmul(difference, { over = "input" })), y_length or length(x:matmul(before, { over = "input" })))
  return weight, output
end

-- The weight as the model's products read it: packed for bf16 it is rounded.
local function as_packed(m, module)
  local w = layers.matrix(m, module)
  return rawget(m, "compute") == "bf16" and w:to("bf16"):to("f32") or w
end

-- A weight whose inputs were scaled, with what a norm before it was divided by put back.
local function unscaled(w, m, reference, norm)
  local a, b = reference:weight(norm.path), m:weight(norm.path)
  if a:equal(b) then return w end
  local axis, one = a.shape[1].name, norm.plus_one and 1 or 0
  return w * ((b + one) / (a + one)):rename { [axis] = "input" }
end

-- Bytes of packed weights by path.
local function bytes_by_path(m)
  local bytes, s = {}, rawget(m, "state_")
  for _, plan in ipairs(pass_runner.plans(s)) do
    for _, part in ipairs(plan:parts()) do
      for path, count in pairs(part.weights) do bytes[path] = count end
    end
  end
  return bytes
end

-- Rows that together have about as many tokens as are looked at.
local function few(rows)
  local list, count = {}, 0
  for _, row in ipairs(rows) do
    if count >= most_tokens then break end
    local cut = {}
    for i = 1, math.min(#row, most_tokens - count) do cut[i] = row[i] end
    list[#list + 1], count = cut, count + #cut
  end
  return list
end

-- Matrices that no product reads: of embeddings.
local function add_tables(list, known, m, reference, before, after)
  for path in pairs(after) do
    local sizes = not known[path] and before[path] and rawget(m, "state_").checkpoint:sizes(path .. ".weight")
    if sizes and #sizes == 2 then
      local error = layers.errors(as_packed(reference, path), as_packed(m, path))
      list[#list + 1] = { name = path, weight_error = error, output_error = error, bytes_before = before[path], bytes = after[path] }
    end
  end
end

--- Every layer with a stored matrix, in the order it is computed.
---@param m Model
---@param reference Model of the same family and sizes
---@param rows integer[][]
---@param tick fun(done: integer, total: integer|nil)
---@return table[] list of { name=, weight_error=, output_error= (relative), bytes_before=, bytes= (as packed; nil: of a form that is not counted by itself) }
function layers.measure(m, reference, rows, tick)
  local list, known, before, after = {}, {}, bytes_by_path(reference), bytes_by_path(m)
  local total = 0
  for _ in pairs(after) do total = total + 1 end
  local norm
  local function look(use, y)
    if known[use.module] then return end
    known[use.module] = true
    local a, b = as_packed(reference, use.module), as_packed(m, use.module)
    if norm and rawequal(norm.y, use.x) then b = unscaled(b, m, reference, norm) end
    local weight, output = layers.errors(a, b, layers.inputs(use), length(y:detach():to("f32")))
    a:free()
    b:free()
    list[#list + 1] = { name = use.module, weight_error = weight, output_error = output, bytes_before = before[use.module],
      bytes = after[use.module] }
    tick(#list, total)
  end
  local function note(y, path, _, o) norm = { y = y, path = path .. ".weight", plus_one = type(o) == "table" and o.plus_one } end
  local observed, few_rows = pass_runner.observed(reference, { after = look, norm = note }), few(rows)
  local o = rawget(m, "head") == "seq2seq" and { decoder = few_rows } or nil
  observed:forward(few_rows, o)
  add_tables(list, known, m, reference, before, after)
  return list
end

-- "layers.3.mlp" → "layers.*.mlp"
local function kind_of(name) return (name:gsub("%.%d+%.", ".*."):gsub("^%d+%.", "*.")) end

local function median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end

local out_of_line, least_error, broken = 4, 0.01, 0.5

-- How often a layer's error is that of its like.
local function against_like(layer, by_kind, all)
  local like = by_kind[kind_of(layer.name)]
  local usual = #like >= 4 and median(like) or median(all)
  return usual > 0 and layer.output_error / usual or math.huge
end

--- What is to be said of layers that lose much more than their like, or so much that something is wrong.
---@param list table[] as measure gives it
---@return string[]
function layers.advice(list)
  local by_kind, all, words = {}, {}, {}
  for _, layer in ipairs(list) do
    local key = kind_of(layer.name)
    by_kind[key] = by_kind[key] or {}
    table.insert(by_kind[key], layer.output_error)
    all[#all + 1] = layer.output_error
  end
  for _, layer in ipairs(list) do
    local error, times = layer.output_error, against_like(layer, by_kind, all)
    if error ~= error or error > broken then
      words[#words + 1] = ("%s answers nothing like the reference's (%.3g of its output is lost): its weights are damaged or another model's; "
        .. "quantize it again from the source"):format(layer.name, error)
    elseif error > least_error and times > out_of_line then
      words[#words + 1] = ('%s loses %.1f %% of its output%s: keep it in more bits, quantize = { ["%s"] = "int8", … }'):format(layer.name,
        100 * error, times < math.huge and (", %.0f times what its like lose"):format(times) or "", layer.name)
    end
  end
  return words
end

--- Sorts the worst first.
---@param list table[]
function layers.sort(list)
  for i, layer in ipairs(list) do layer.at = i end
  local function key(layer) return layer.output_error == layer.output_error and layer.output_error or math.huge end
  table.sort(list, function(a, b)
    if key(a) ~= key(b) then return key(a) > key(b) end
    return a.at < b.at
  end)
  for _, layer in ipairs(list) do layer.at = nil end
end

return layers
