-- Walks a parsed template. Names live in scopes: a loop's turn, a macro, a block each have their own.
local budget = require "perilune.chat.jinja.budget"
local values = require "perilune.chat.jinja.values"
local printing = require "perilune.chat.jinja.printing"
local bind = require "perilune.chat.jinja.bind"
local evaluation = require "perilune.chat.jinja.evaluation"
local loops = require "perilune.chat.jinja.loops"

local interpreter = {}

local fail, class, truth = budget.fail, values.class, values.truth
local evaluate, call, new_scope, find_name = evaluation.evaluate, evaluation.call, evaluation.scope, evaluation.find_name

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

-- A value as it is written: escaped inside {% autoescape true %}, unless it is marked.
local function written(run, value)
  local shown = printing.str(value)
  return run.autoescape and class(value) ~= values.Markup and values.escaped(shown) or shown
end

function execute.output(run, node, scope)
  local value = evaluate(run, node.value, scope)
  run.at = node.at
  write(run, written(run, value))
end

function execute.autoescape(run, node, scope)
  local outer = run.autoescape
  run.autoescape = truth(evaluate(run, node.value, scope))
  local leave = run_body(run, node.body, new_scope(scope))
  run.autoescape = outer
  return leave
end

-- A block sees what the whole template sets, not the names around it, unless it is scoped.
function execute.block(run, node, scope)
  run_body(run, node.body, new_scope(node.scoped and scope or run.scope))
end

function execute.print(run, node, scope)
  for _, one in ipairs(node.values) do write(run, written(run, evaluate(run, one, scope))) end
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
  if run.autoescape then text = values.markup(text) end
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

-- Arguments beyond a macro's own: what it reads as varargs and kwargs, else an error.
local function extra_arguments(node, positional, named, order)
  local own, extra, by_name = {}, {}, values.dict()
  for _, name in ipairs(node.names) do own[name] = true end
  for i = #node.names + 1, #positional do extra[#extra + 1], positional[i] = positional[i], nil end
  for _, name in ipairs(order) do
    if not own[name] and (name ~= "caller" or not node.reads.caller) then
      values.put(by_name, name, named[name])
      named[name] = nil
    end
  end
  if #by_name.keys > 0 and not node.reads.kwargs then
    fail(("macro '%s' takes no keyword argument '%s'"):format(node.name, by_name.keys[1]))
  end
  if #extra > 0 and not node.reads.varargs then fail(("macro '%s' takes not more than %d argument(s)"):format(node.name, #node.names)) end
  return values.sequence(extra, "tuple"), by_name
end

-- What templates may ask of a macro.
local macro_members = {
  name = function(node) return node.name end,
  arguments = function(node)
    local names = {}
    for i, name in ipairs(node.names) do names[i] = name end
    return values.sequence(names, "tuple")
  end,
  catch_varargs = function(node) return node.reads.varargs == true end,
  catch_kwargs = function(node) return node.reads.kwargs == true end,
  caller = function(node) return node.reads.caller == true end,
}

local function make_macro(run, node, scope)
  local macro = values.func(node.name, function(positional, named, order)
    run.depth = run.depth + 1
    budget.check_depth(run.depth)
    local varargs, kwargs = extra_arguments(node, positional, named, order or {})
    local caller = named.caller
    named.caller = nil
    local given = bind.names("macro " .. node.name, node.names, 0, positional, named)
    local inner = new_scope(scope)
    inner.names.varargs, inner.names.kwargs = varargs, kwargs
    inner.names.caller = caller or values.undefined "no caller defined"
    for i, name in ipairs(node.names) do
      local value = given[name]
      if value == nil and node.defaults[i] then value = evaluate(run, node.defaults[i], inner) end
      inner.names[name] = value == nil and values.undefined(("parameter '%s' was not provided"):format(name)) or value
    end
    local text = capture(run, node.body, inner)
    run.depth = run.depth - 1
    return run.autoescape and values.markup(text) or text
  end)
  macro.members = function(name)
    local member = macro_members[name]
    if member then return member(node) end
  end
  return macro
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
