-- Walks a parsed template. Names live in scopes: a loop's turn, a macro, a block each have their own.
local budget = require "perilune.chat.jinja.budget"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"
local attributes = require "perilune.chat.jinja.attributes"
local operators = require "perilune.chat.jinja.operators"
local filters = require "perilune.chat.jinja.filters"
local checks = require "perilune.chat.jinja.checks"
local loops = require "perilune.chat.jinja.loops"

local interpreter = {}

local fail, class, truth = budget.fail, values.class, values.truth

-- ---------------------------------------------------------------- scopes

local function new_scope(parent) return { names = {}, parent = parent } end

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

local function evaluate(run, node, scope)
  budget.charge(1)
  return eval[node.k](run, node, scope)
end

local function all(run, nodes, scope)
  local out = {}
  for i, node in ipairs(nodes) do out[i] = evaluate(run, node, scope) end
  return out
end

function eval.constant(_, node) return node.value end
function eval.none() return values.none end
function eval.integer(_, node) return values.integer(node.value) end
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
  local parts, size = {}, 0
  for i, part in ipairs(node.parts) do
    parts[i] = printing.str(evaluate(run, part, scope))
    size = size + #parts[i]
  end
  run.at = node.at
  budget.charge_bytes(size)
  return table.concat(parts)
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

local function call(run, node, scope, extra)
  local value = evaluate(run, node.value, scope)
  local positional, named, order = arguments_of(run, node.arguments, scope)
  run.at = node.at
  if class(value) ~= values.Function then
    fail(("'%s' object is not callable"):format(values.type_name(values.defined(value))))
  end
  if extra then named.caller = extra end
  return value.call(positional, named, order)
end

function eval.call(run, node, scope) return call(run, node, scope) end

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

-- ---------------------------------------------------------------- statements

local execute = {}

-- Runs statements; "break" or "continue" when one of them was met.
local function run_body(run, body, scope)
  for _, node in ipairs(body) do
    budget.charge(1)
    local leave = execute[node.k](run, node, scope)
    if leave then return leave end
  end
  return nil
end

local function write(run, piece)
  if piece == "" then return end
  local out = run.out
  out.size = out.size + #piece
  budget.charge_bytes(#piece)
  if out.size > run.max_bytes then fail(("the output is longer than %d bytes"):format(run.max_bytes)) end
  out[#out + 1] = piece
end

-- What a body writes, as a text.
local function capture(run, body, scope)
  local outer = run.out
  run.out = { size = 0 }
  run_body(run, body, scope)
  local text = table.concat(run.out)
  run.out = outer
  return text
end

local function assign(run, target, value, scope)
  if target.k == "name" then
    scope.names[target.name] = value
  elseif target.k == "attribute_target" then
    local namespace = find_name(scope, target.name)
    run.at = target.at
    if class(namespace) ~= values.Namespace then fail(("'%s' is not a namespace: its attributes cannot be set"):format(target.name)) end
    if target.attribute:find "^_" then fail "names of a namespace cannot begin with _" end
    values.put(namespace, target.attribute, value)
  else
    run.at = target.at
    local items = values.items(value)
    if #items ~= #target.items then fail(("%d values for %d names"):format(#items, #target.items)) end
    for i, one in ipairs(target.items) do assign(run, one, items[i], scope) end
  end
end

function execute.data(run, node) write(run, node.text) end

function execute.output(run, node, scope)
  local value = evaluate(run, node.value, scope)
  run.at = node.at
  write(run, printing.str(value))
end

function execute.print(run, node, scope)
  for _, one in ipairs(node.values) do write(run, printing.str(evaluate(run, one, scope))) end
end

execute["if"] = function(run, node, scope)
  for _, branch in ipairs(node.branches) do
    if truth(evaluate(run, branch.test, scope)) then return run_body(run, branch.body, scope) end
  end
  if node.otherwise then return run_body(run, node.otherwise, scope) end
end

-- The items of a loop that pass its `if`.
local function chosen_items(run, node, items, scope)
  if not node.test then return items end
  local out = {}
  for _, item in ipairs(items) do
    local inner = new_scope(scope)
    assign(run, node.target, item, inner)
    if truth(evaluate(run, node.test, inner)) then out[#out + 1] = item end
  end
  return out
end

local function run_loop(run, node, items, scope, depth)
  items = chosen_items(run, node, items, scope)
  budget.check_depth(depth)
  local loop = loops.new(items, depth)
  if node.recursive then
    loop.again = function(more)
      local outer = run.out
      run.out = { size = 0 }
      run_loop(run, node, values.items(more), scope, depth + 1)
      local text = table.concat(run.out)
      run.out = outer
      return text
    end
  end
  local object = loops.object(loop)
  for i, item in ipairs(items) do
    budget.charge(1)
    loop.index = i
    local inner = new_scope(scope)
    inner.names.loop = object
    assign(run, node.target, item, inner)
    if run_body(run, node.body, inner) == "break" then break end
  end
  if #items == 0 and node.otherwise then return run_body(run, node.otherwise, new_scope(scope)) end
end

execute["for"] = function(run, node, scope)
  local source = evaluate(run, node.source, scope)
  run.at = node.source.at
  return run_loop(run, node, values.items(source), scope, 1)
end

function execute.set(run, node, scope) assign(run, node.target, evaluate(run, node.value, scope), scope) end

-- A captured text after the filters of its block.
local function filtered(run, filter, text, scope)
  if not filter then return text end
  local outer = run.captured
  run.captured = text
  local value = evaluate(run, filter, scope)
  run.captured = outer
  return value
end

function execute.set_block(run, node, scope)
  local text = capture(run, node.body, new_scope(scope))
  assign(run, node.target, filtered(run, node.filter, text, scope), scope)
end

function execute.filter_block(run, node, scope)
  write(run, printing.str(filtered(run, node.filter, capture(run, node.body, new_scope(scope)), scope)))
end

execute["with"] = function(run, node, scope)
  local inner = new_scope(scope)
  for i, target in ipairs(node.targets) do assign(run, target, evaluate(run, node.values[i], scope), inner) end
  return run_body(run, node.body, inner)
end

execute["break"] = function() return "break" end
execute["continue"] = function() return "continue" end

local function make_macro(run, node, scope)
  local accepted = { unpack(node.names) }
  return values.func(node.name, function(positional, named)
    run.depth = run.depth + 1
    budget.check_depth(run.depth)
    local caller = named.caller
    named.caller = nil
    local extra = {}
    for i = #node.names + 1, #positional do extra[#extra + 1], positional[i] = positional[i], nil end
    local given = bind.names("macro " .. node.name, accepted, 0, positional, named)
    local inner = new_scope(scope)
    inner.names.varargs = values.sequence(extra, "tuple")
    inner.names.caller = caller or values.undefined "no caller defined"
    for i, name in ipairs(node.names) do
      local value = given[name]
      if value == nil and node.defaults[i] then value = evaluate(run, node.defaults[i], inner) end
      inner.names[name] = value == nil and values.undefined(("parameter '%s' was not provided"):format(name)) or value
      if value == false then inner.names[name] = false end
    end
    local text = capture(run, node.body, inner)
    run.depth = run.depth - 1
    return text
  end)
end

function execute.macro(run, node, scope) scope.names[node.name] = make_macro(run, node, scope) end

function execute.call_block(run, node, scope)
  write(run, printing.str(call(run, node.call, scope, make_macro(run, node.caller, scope))))
end

--- Runs a parsed template.
---@param body table[] what parser.parse gave
---@param globals table<string, any> names that the template may read
---@param max_bytes integer
---@return table run { out=, at= }: kept by the caller for the place of an error
function interpreter.new(body, globals, max_bytes)
  return { body = body, scope = { names = {}, parent = { names = globals } }, out = { size = 0 }, max_bytes = max_bytes, depth = 0, at = 1 }
end

--- The text that a run writes.
---@param run table
---@return string
function interpreter.render(run)
  run_body(run, run.body, run.scope)
  return table.concat(run.out)
end

return interpreter
