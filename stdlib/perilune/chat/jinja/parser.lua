-- Statements of a template: tokens to a tree that the interpreter walks.
local budget = require "perilune.chat.jinja.budget"
local lexer = require "perilune.chat.jinja.lexer"
local Parser = require "perilune.chat.jinja.expressions"

local parser = {}

local statements = {}

local function node(kind, token, fields)
  fields.k, fields.at = kind, token.at
  return fields
end

-- Everything up to a tag whose name is in `ends`; that name is at hand afterwards.
local function body(p, opener, ends)
  local out = {}
  while true do
    local token = p.token
    if token.type == "data" then
      p:take()
      out[#out + 1] = node("data", token, { text = token.value })
    elseif token.type == "{{" then
      p:take()
      out[#out + 1] = node("output", token, { value = p:tuple {} })
      p:expect "}}"
    elseif token.type == "{%" then
      p:take()
      local name = p.token
      if name.type ~= "name" then p:unexpected "the name of a statement" end
      if ends[name.value] then return out end
      local statement = statements[name.value]
      if not statement then
        local open = opener and (" inside the {%% %s %%} that is open"):format(opener) or ""
        budget.fail(("unknown statement '%s'%s"):format(name.value, open), name.at)
      end
      p:take()
      out[#out + 1] = p:nested(statement, name)
      p:expect "%}"
    else
      if opener then budget.fail(("{%% %s %%} is not closed"):format(opener), token.at) end
      return out
    end
  end
end

-- A body that one name ends; that name is taken.
local function body_until(p, opener, name)
  local out = body(p, opener, { [name] = true })
  p:take()
  return out
end

-- What can be assigned: a name, a tuple of targets, or an attribute of a namespace.
local function check_target(target)
  if target.k == "tuple" then
    for _, item in ipairs(target.items) do check_target(item) end
  elseif target.k ~= "name" and target.k ~= "attribute_target" then
    budget.fail("this cannot be assigned to", target.at)
  end
  return target
end

local function target(p, rules)
  rules.simple = true
  return check_target(p:nested(p.tuple, rules))
end

statements["for"] = function(p, token)
  local names = target(p, { stop = "in" })
  if not p:skip_name "in" then p:unexpected "'in'" end
  local source = p:nested(p.tuple, { without_condition = true, stop = "recursive" })
  local test = p:skip_name "if" and p:expression() or nil
  local recursive = p:skip_name "recursive"
  p:expect "%}"
  p.loops = p.loops + 1
  local inside = body(p, "for", { endfor = true, ["else"] = true })
  p.loops = p.loops - 1
  local otherwise
  if p:take().value == "else" then
    p:expect "%}"
    otherwise = body_until(p, "for", "endfor")
  end
  return node("for", token, { target = names, source = source, test = test, recursive = recursive, body = inside, otherwise = otherwise })
end

statements["if"] = function(p, token)
  local branches, otherwise = {}, nil
  repeat
    local test = p:tuple { without_condition = true }
    p:expect "%}"
    branches[#branches + 1] = { test = test, body = body(p, "if", { ["elif"] = true, ["else"] = true, ["endif"] = true }) }
    local word = p:take().value
    if word == "else" then
      p:expect "%}"
      otherwise = body_until(p, "if", "endif")
    end
  until word ~= "elif"
  return node("if", token, { branches = branches, otherwise = otherwise })
end

function statements.set(p, token)
  local names = target(p, { namespace = true, stop = "=" })
  if p:skip "=" then return node("set", token, { target = names, value = p:tuple {} }) end
  local filter
  while p.token.type == "|" do filter = p:filter(filter or { k = "captured", at = token.at }) end
  p:expect "%}"
  return node("set_block", token, { target = names, filter = filter, body = body_until(p, "set", "endset") })
end

local function signature(p)
  local names, defaults = {}, {}
  p:expect "("
  while p.token.type ~= ")" do
    if #names > 0 then p:expect "," end
    local name = p:expect "name"
    names[#names + 1] = name.value
    if p:skip "=" then
      defaults[#names] = p:expression()
    elseif next(defaults) then
      budget.fail("an argument without a default after one with a default", name.at)
    end
  end
  p:expect ")"
  return names, defaults
end

-- Which of the names that hold a macro's other arguments stand in a body: tokens from a place on.
local function special_names_since(p, from)
  local reads = {}
  for i = from, p.position - 1 do
    local token = p.tokens[i]
    local before = p.tokens[i - 1]
    if token.type == "name" and not (before and before.type == ".") then
      if token.value == "caller" or token.value == "kwargs" or token.value == "varargs" then reads[token.value] = true end
    end
  end
  return reads
end

function statements.macro(p, token)
  local name = p:expect("name").value
  local names, defaults = signature(p)
  p:expect "%}"
  local loops, from = p.loops, p.position
  p.loops = 0
  local inside = body_until(p, "macro", "endmacro")
  p.loops = loops
  return node("macro", token, { name = name, names = names, defaults = defaults, body = inside, reads = special_names_since(p, from) })
end

function statements.call(p, token)
  local names, defaults = {}, {}
  if p.token.type == "(" then names, defaults = signature(p) end
  local call = p:expression()
  if call.k ~= "call" then budget.fail("{% call %} needs a call of a macro", call.at) end
  p:expect "%}"
  local loops, from = p.loops, p.position
  p.loops = 0
  local caller = node("macro", token, { name = "caller", names = names, defaults = defaults, body = body_until(p, "call", "endcall") })
  caller.reads = special_names_since(p, from)
  p.loops = loops
  return node("call_block", token, { call = call, caller = caller })
end

function statements.filter(p, token)
  local filter = p:filter({ k = "captured", at = token.at }, true)
  while p.token.type == "|" do filter = p:filter(filter) end
  p:expect "%}"
  return node("filter_block", token, { filter = filter, body = body_until(p, "filter", "endfilter") })
end

statements["with"] = function(p, token)
  local names, values = {}, {}
  while p.token.type ~= "%}" do
    if #names > 0 then p:expect "," end
    names[#names + 1] = check_target(p:primary())
    p:expect "="
    values[#values + 1] = p:expression()
  end
  p:expect "%}"
  return node("with", token, { targets = names, values = values, body = body_until(p, "with", "endwith") })
end

function statements.generation(p, token)
  p:expect "%}"
  return node("with", token, { targets = {}, values = {}, body = body_until(p, "generation", "endgeneration") })
end

statements["break"] = function(p, token)
  if p.loops == 0 then budget.fail("{% break %} outside a loop", token.at) end
  return node("break", token, {})
end

statements["continue"] = function(p, token)
  if p.loops == 0 then budget.fail("{% continue %} outside a loop", token.at) end
  return node("continue", token, {})
end

function statements.print(p, token)
  local values = { p:expression() }
  while p:skip "," do values[#values + 1] = p:expression() end
  return node("print", token, { values = values })
end

function statements.autoescape(p, token)
  local value = p:expression()
  p:expect "%}"
  return node("autoescape", token, { value = value, body = body_until(p, "autoescape", "endautoescape") })
end

function statements.block(p, token)
  local name = p:expect("name").value
  if p.blocks[name] then budget.fail(("the block '%s' is defined twice"):format(name), token.at) end
  p.blocks[name] = true
  local scoped = p:skip_name "scoped"
  p:skip_name "required"
  p:expect "%}"
  local loops = p.loops
  p.loops = 0
  local inside = body_until(p, "block", "endblock")
  p.loops = loops
  p:skip_name(name)
  return node("block", token, { name = name, scoped = scoped, body = inside })
end

for _, name in ipairs { "extends", "include", "import", "from" } do
  statements[name] = function(_, token)
    budget.fail(("{%% %s %%} is not part of a chat template: it would reach outside of it"):format(name), token.at)
  end
end

--- Parses a normalized template.
---@param source string
---@return table[] body
---@return table<string, boolean> names that stand in it
function parser.parse(source)
  local p = Parser.new(lexer.tokenize(source))
  p.blocks = {}
  local out, names = body(p, nil, {}), {}
  p:expect "end"
  for _, token in ipairs(p.tokens) do
    if token.type == "name" then names[token.value] = true end
  end
  return out, names
end

return parser
