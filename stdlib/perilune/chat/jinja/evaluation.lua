-- The values of expressions: one function for each kind of node.
local budget = require "perilune.chat.jinja.budget"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local attributes = require "perilune.chat.jinja.attributes"
local operators = require "perilune.chat.jinja.operators"
local filters = require "perilune.chat.jinja.filters"
local checks = require "perilune.chat.jinja.checks"

local evaluation = {}

local fail, class, truth = budget.fail, values.class, values.truth

-- ---------------------------------------------------------------- scopes

--- The names of a loop's turn, a macro, a block.
---@param parent table
---@return table
function evaluation.scope(parent) return { names = {}, parent = parent } end

local function find_name(scope, name)
  while scope do
    local found = scope.names[name]
    if found ~= nil then return found end
    scope = scope.parent
  end
  return nil
end

-- ---------------------------------------------------------------- expressions

-- One function a kind of node: (run, node, scope) → value. `run.at` is where an error is.
local eval = {}

--- The value of a node of an expression.
---@param run table
---@param node table
---@param scope table
---@return any
function evaluation.evaluate(run, node, scope)
  budget.charge(1)
  return eval[node.k](run, node, scope)
end
local evaluate = evaluation.evaluate

local function all(run, nodes, scope)
  local out = {}
  for i, node in ipairs(nodes) do out[i] = evaluate(run, node, scope) end
  return out
end

function eval.constant(_, node) return node.value end
function eval.none() return values.none end
function eval.integer(_, node)
  if type(node.value) == "string" then return values.big(node.value) end
  return values.integer(node.value)
end
function eval.float(_, node) return values.float(node.value) end
function eval.captured(run) return run.captured end

function eval.name(_, node, scope)
  local found = find_name(scope, node.name)
  if found == nil then return values.undefined(("'%s' is undefined"):format(node.name)) end
  return found
end

function eval.tuple(run, node, scope) return values.sequence(all(run, node.items, scope), "tuple") end
function eval.list(run, node, scope) return values.sequence(all(run, node.items, scope)) end

function eval.dict(run, node, scope)
  local out = values.dict()
  for i, key in ipairs(node.keys) do
    local at = evaluate(run, key, scope)
    local value = evaluate(run, node.values[i], scope)
    run.at = key.at
    values.put(out, at, value)
  end
  return out
end

function eval.conditional(run, node, scope)
  if truth(evaluate(run, node.test, scope)) then return evaluate(run, node.value, scope) end
  if node.otherwise then return evaluate(run, node.otherwise, scope) end
  return values.undefined "the inline if-expression was false and has no else"
end

eval["or"] = function(run, node, scope)
  local left = evaluate(run, node.left, scope)
  if truth(left) then return left end
  return evaluate(run, node.right, scope)
end

eval["and"] = function(run, node, scope)
  local left = evaluate(run, node.left, scope)
  if not truth(left) then return left end
  return evaluate(run, node.right, scope)
end

eval["not"] = function(run, node, scope) return not truth(evaluate(run, node.value, scope)) end

function eval.compare(run, node, scope)
  local left = evaluate(run, node.first, scope)
  for _, part in ipairs(node.rest) do
    local right = evaluate(run, part.value, scope)
    run.at = part.at
    if not operators[part.operator](left, right) then return false end
    left = right
  end
  return true
end

for _, symbol in ipairs { "+", "-", "*", "/", "//", "%", "**" } do
  eval[symbol] = function(run, node, scope)
    local left, right = evaluate(run, node.left, scope), evaluate(run, node.right, scope)
    run.at = node.at
    return operators[symbol](left, right)
  end
end

function eval.negative(run, node, scope)
  local value = evaluate(run, node.value, scope)
  run.at = node.at
  return operators.negative(value)
end

function eval.positive(run, node, scope)
  local value = evaluate(run, node.value, scope)
  run.at = node.at
  return operators.positive(value)
end

function eval.concatenate(run, node, scope)
  local parts, size, marked = all(run, node.parts, scope), 0, false
  for _, part in ipairs(parts) do marked = marked or run.autoescape and class(part) == values.Markup end
  for i, part in ipairs(parts) do
    local one = printing.str(part)
    if marked and class(part) ~= values.Markup then one = values.escaped(one) end
    parts[i], size = one, size + #one
  end
  run.at = node.at
  budget.charge_bytes(size)
  return marked and values.markup(table.concat(parts)) or table.concat(parts)
end

function eval.attribute(run, node, scope)
  local value = evaluate(run, node.value, scope)
  run.at = node.at
  return attributes.attribute(value, node.name)
end

function eval.item(run, node, scope)
  local value, index = evaluate(run, node.value, scope), evaluate(run, node.index, scope)
  run.at = node.at
  return attributes.item(value, index)
end

function eval.slice(_, node) return fail("a slice cannot stand here", node.at) end

function eval.slice_of(run, node, scope)
  local slice = node.slice
  local function bound(one) if one then return evaluate(run, one, scope) end end
  local value, first, last, step = evaluate(run, node.value, scope), bound(slice.first), bound(slice.last), bound(slice.step)
  run.at = node.at
  return attributes.slice(value, first, last, step)
end

-- Positional arguments, named ones, and the order of the names.
local function arguments_of(run, nodes, scope)
  local positional, named, order = all(run, nodes, scope), {}, {}
  local function name_one(name, value)
    if named[name] ~= nil then fail(("two values for the argument '%s'"):format(name)) end
    named[name] = value
    order[#order + 1] = name
  end
  for _, pair in ipairs(nodes.named) do name_one(pair[1], evaluate(run, pair[2], scope)) end
  if nodes.list then
    for _, item in ipairs(values.items(evaluate(run, nodes.list, scope))) do positional[#positional + 1] = item end
  end
  if nodes.dict then
    local dict = evaluate(run, nodes.dict, scope)
    if class(dict) ~= values.Dict then fail("argument after ** must be a dict, not " .. values.type_name(dict)) end
    for _, key in ipairs(dict.keys) do
      if type(key) ~= "string" then fail "names of arguments are texts" end
      name_one(key, values.lookup(dict, key))
    end
  end
  return positional, named, order
end

--- Calls what a node names; `extra` is the body of a {% call %} block.
---@param run table
---@param node table
---@param scope table
---@param extra any
---@return any
function evaluation.call(run, node, scope, extra)
  local value = evaluate(run, node.value, scope)
  local positional, named, order = arguments_of(run, node.arguments, scope)
  run.at = node.at
  if class(value) ~= values.Function then
    fail(("'%s' object is not callable"):format(values.type_name(values.defined(value))))
  end
  if extra then
    named.caller = extra
    order[#order + 1] = "caller"
  end
  return value.call(positional, named, order)
end

function eval.call(run, node, scope) return evaluation.call(run, node, scope) end

function eval.filter(run, node, scope)
  local value = evaluate(run, node.value, scope)
  local positional, named, order = arguments_of(run, node.arguments, scope)
  run.at = node.at
  return filters.apply(node.name, value, positional, named, order)
end

function eval.test(run, node, scope)
  local value = evaluate(run, node.value, scope)
  local positional = arguments_of(run, node.arguments, scope)
  run.at = node.at
  return checks.apply(node.name, value, positional)
end

evaluation.find_name = find_name

return evaluation
