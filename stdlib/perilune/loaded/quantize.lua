-- Which weights of a model are stored in which type: recipes of patterns become assignments, and these are applied to
-- the model's weights. Nothing is computed here: the engine converts a weight when it is packed or written.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local path_pattern = require "perilune.base.path_pattern"
local pass_runner = require "perilune.loaded.pass_runner"
local weight_types = require "perilune.loaded.weight_types"

local quantize = {}

-- ---------------------------------------------------------------- recipes

local function own_options(given, where, op)
  local o = {}
  for key, value in pairs(given) do
    local kind = weight_types.keys[key]
    if kind then
      local expected = options.expected(value, kind)
      if expected then raise("option", op, ("%s: %s: expected %s, got %s"):format(where, key, expected, options.show(value))) end
      o[key] = value
    end
  end
  return o
end

-- A type's name, or { type=, its options }, beside options that hold for the whole recipe.
local function read_choice(value, shared, where, op)
  local name, own = value, {}
  if type(value) == "table" then
    name, own = value.type, own_options(value, where, op)
    for key in pairs(value) do
      if key ~= "type" and not weight_types.keys[key] then
        raise("option", op, ("%s: unknown key %s"):format(where, options.show(key)),
          options.unknown(key, { "type", "group", "symmetric", "double_quantization" }, "keys", op))
      end
    end
  end
  name = weight_types.check(name, own, where, op)
  for key, option in pairs(shared) do
    if own[key] == nil and weight_types.takes(name, key) then
      own[key], option.used = option.value, true
    end
  end
  weight_types.check(name, own, where, op)
  return { type = name, options = own, text = where }
end

-- Longest first; of equal length in the order of the alphabet.
local function sort_patterns(list)
  table.sort(list, function(a, b)
    if #a.pattern ~= #b.pattern then return #a.pattern > #b.pattern end
    return a.pattern < b.pattern
  end)
end

--- Reads a recipe: the name of a type for all layers, or a table of patterns → type with, if wanted, `type` for the
--- layers that no pattern names, and options for all of them.
---@param given any
---@param op string
---@return table recipe { standard= (of the layers, or nil), patterns={ { pattern=, fits=, type=, options= }, … }, given= }
function quantize.read(given, op)
  if type(given) ~= "table" then given = { type = given } end
  local shared, recipe = {}, { patterns = {}, given = given }
  for key, value in pairs(own_options(given, "option quantize", op)) do shared[key] = { value = value } end
  for key, value in pairs(given) do
    if type(key) ~= "string" or key == "" then
      raise("option", op, "option quantize: expected patterns of module paths as keys, got " .. options.show(key),
        'for instance { ["layers.*.mlp.*"] = "nf4", lm_head = "int8" }')
    elseif key ~= "type" and not weight_types.keys[key] then
      local choice = read_choice(value, shared, ('option quantize: "%s"'):format(key), op)
      choice.pattern, choice.fits = key, path_pattern.test(key)
      recipe.patterns[#recipe.patterns + 1] = choice
    end
  end
  if given.type ~= nil then recipe.standard = read_choice(given.type, shared, "option quantize", op) end
  if not recipe.standard and not recipe.patterns[1] then
    raise("option", op, "option quantize: the table names no type", 'for instance quantize = "int8", or { ["layers.*.mlp.*"] = "nf4" }')
  end
  for key, option in pairs(shared) do
    if not option.used then raise("option", op, ("option quantize: %s means nothing to the types that are named"):format(key), weight_types.takers(key)) end
  end
  sort_patterns(recipe.patterns)
  return recipe
end

-- ---------------------------------------------------------------- weights

-- The module of a part that a stored weight belongs to, by canonical path.
local function canonical(part, path)
  local number = part.path:match "%.(%d+)$"
  for _, module in ipairs(part.modules) do
    local rest = module:sub(#part.path + 2)
    if module:sub(1, #part.path + 1) == part.path .. "." and rest ~= "" then
      local ending = (number and number .. "." or "") .. rest
      if path == ending or path:sub(-#ending - 1) == "." .. ending then return module end
    end
  end
end

-- Names that a pattern may fit: the weight's own, its canonical one, its part's, and of a weight that a head is tied
-- to the head's.
local function add_names(weight, part)
  local names = weight.names
  names[#names + 1] = part.path
  names[#names + 1] = canonical(part, weight.path)
  local own = part.path ~= "logits"
  for _, module in ipairs(part.modules) do own = own or module == weight.path end
  if own then return end
  for _, module in ipairs(part.modules) do
    if not part.weights[module] then names[#names + 1] = module end
  end
end

--- Weights that a model multiplies by or takes rows of, each once, in the order they are computed.
---@param s table a model's state
---@return table[] list of { path=, names= (what patterns may call it), layer= (not an embedding, not a head), sizes= }
function quantize.weights(s)
  local list, known = {}, {}
  for _, entry in ipairs(s.family.entries) do
    local plan = core.plan(pass_runner.program(s, entry), { compute = "f32", cache_dtype = "f32", device = "cpu" })
    for _, part in ipairs(plan:parts()) do
      local paths = {}
      for path in pairs(part.weights) do paths[#paths + 1] = path end
      table.sort(paths)
      for _, path in ipairs(paths) do
        local weight = known[path]
        if not weight then
          weight = { path = path, names = { path }, layer = true, sizes = s.checkpoint:sizes(path) }
          known[path], list[#list + 1] = weight, weight
        end
        weight.layer = weight.layer and part.path:find "layers%.%d+$" ~= nil
        add_names(weight, part)
      end
    end
  end
  return list
end

local function first_of(patterns, names)
  for _, pattern in ipairs(patterns) do
    for _, name in ipairs(names) do
      if pattern.fits(name) then
        pattern.used = true
        return pattern
      end
    end
  end
end

local function expect_used(recipe, weights, op)
  for _, pattern in ipairs(recipe.patterns) do
    if not pattern.used then
      local names, seen = {}, {}
      for _, weight in ipairs(weights) do
        for _, name in ipairs(weight.names) do
          if not seen[name] then names[#names + 1], seen[name] = name, true end
        end
      end
      table.sort(names)
      local near = core.nearest(pattern.pattern, names)
      raise("option", op, ('option quantize: no weight fits "%s", or longer patterns have all of them'):format(pattern.pattern),
        near and ('did you mean "' .. near .. '"?') or "m:shapes() lists the modules; norms and biases are never quantized")
    end
  end
end

--- What a recipe makes of a model's weights.
---@param s table a model's state
---@param recipe table as quantize.read gives it
---@param op string
---@param whole_blocks boolean|nil rows may not end inside a block, as in GGUF files
---@return table assignments list of { path=, type=, storage= (the engine's name), from= (the same of what it was) }, those that change
---@return string[] notes what is otherwise than asked for, for people
function quantize.assign(s, recipe, op, whole_blocks)
  local weights, list, apart, whole = quantize.weights(s), {}, {}, {}
  for _, weight in ipairs(weights) do
    local choice = first_of(recipe.patterns, weight.names) or weight.layer and recipe.standard or nil
    if choice then
      local storage = weight_types.storage(choice.type, choice.options, weight.sizes[2], whole_blocks)
      local from = s.checkpoint:storage(weight.path)
      if not storage then
        whole[#whole + 1] = weight.path
      else
        if storage ~= choice.type:upper() and choice.type:find "^q%d_k$" then
          local key = ("%s as %s"):format(choice.type, storage:lower())
          apart[key] = (apart[key] or 0) + 1
        end
        if storage ~= from then
          list[#list + 1] = { path = weight.path, type = choice.type, storage = storage, from = from }
        end
      end
    end
  end
  expect_used(recipe, weights, op)
  local notes = {}
  for key, count in pairs(apart) do notes[#notes + 1] = ("%d weights of %s: 256 does not divide their rows"):format(count, key) end
  table.sort(notes)
  if whole[1] then
    notes[#notes + 1] = ("%d weights stay as they are, since 32 does not divide their rows: %s%s"):format(#whole, whole[1],
      #whole > 1 and ", …" or "")
  end
  return list, notes
end

--- Stores a model's weights as assigned. Programs and plans made before keep what they have.
---@param s table a model's state
---@param assignments table[] { path=, storage=, blocks= (u8 tensor of the storage's blocks; nil: rounded by the storage's own rule) };
--- of a vector { path=, values= }
function quantize.apply(s, assignments)
  for _, one in ipairs(assignments) do
    if one.values then
      s.checkpoint:replace(one.path, one.values)
    elseif one.blocks then
      s.checkpoint:store_blocks(one.path, one.storage, one.blocks)
    else
      s.checkpoint:store_as(one.path, one.storage)
    end
  end
  s.programs, s.plans = {}, {}
end

--- Reads a recipe and applies it to a model that is being loaded.
---@param s table
---@param given any
---@param op string
---@return table[] assignments
function quantize.by_recipe(s, given, op)
  local recipe = quantize.read(given, op)
  local assignments, notes = quantize.assign(s, recipe, op)
  quantize.apply(s, assignments)
  for _, note in ipairs(notes) do s.warnings[#s.warnings + 1] = "quantize: " .. note end
  s.recipe, s.converted = recipe.given, true
  return assignments
end

--- What all weights of a model take as they are stored, each shared one once.
---@param s table what stands behind a model
---@return integer bytes
function quantize.stored_bytes(s)
  local bytes = 0
  for name, same_as in pairs(s.checkpoint:to_save()) do
    if same_as == "" then bytes = bytes + select(2, s.checkpoint:storage(name)) end
  end
  return bytes
end

return quantize
