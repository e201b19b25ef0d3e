-- Expressions of a template, by recursive descent: the part of the parser that statements share.
local budget = require "perilune.chat.jinja.budget"

local Parser = {}
Parser.__index = Parser

--- A parser over tokens.
---@param tokens table[]
---@return table
function Parser.new(tokens) return setmetatable({ tokens = tokens, position = 1, token = tokens[1], depth = 0, loops = 0 }, Parser) end

--- The token at hand, which is then behind.
---@return table
function Parser:take()
  local token = self.token
  self.position = self.position + 1
  self.token = self.tokens[self.position] or token
  return token
end

local function shown(token)
  if token.type == "end" then return "the end of the template" end
  if token.type == "data" then return "text" end
  return "'" .. tostring(token.value) .. "'"
end

--- Raises about the token at hand.
---@param wanted string
function Parser:unexpected(wanted)
  budget.fail(("expected %s, got %s"):format(wanted, shown(self.token)), self.token.at)
end

--- Whether the token at hand is the name `word`.
---@param word string
---@return boolean
function Parser:is_name(word) return self.token.type == "name" and self.token.value == word end

--- Takes the token at hand if it is of a type.
---@param kind string
---@return table|nil
function Parser:skip(kind)
  if self.token.type == kind then return self:take() end
end

--- Takes the name `word` if it is at hand.
---@param word string
---@return boolean
function Parser:skip_name(word)
  if not self:is_name(word) then return false end
  self:take()
  return true
end

--- Takes a token of a type, or raises.
---@param kind string
---@return table
function Parser:expect(kind)
  if self.token.type ~= kind then self:unexpected(kind == "name" and "a name" or kind == "end" and "the end" or "'" .. kind .. "'") end
  return self:take()
end

-- Levels of a subscript, call, filter: a chain is a loop here, but a deep tree for the interpreter.
local max_chain = 400

local function node(kind, token, fields)
  fields.k, fields.at = kind, token.at
  return fields
end

function Parser:nested(method, ...)
  self.depth = self.depth + 1
  budget.check_depth(self.depth)
  local result = method(self, ...)
  self.depth = self.depth - 1
  return result
end

--- A whole expression, with `a if b else c`.
---@return table node
function Parser:expression() return self:nested(self.conditional) end

function Parser:conditional()
  local token, value = self.token, self:any_of()
  local count = 0
  while self:skip_name "if" do
    count = count + 1
    budget.check_depth(count)
    local test, otherwise = self:any_of(), nil
    if self:skip_name "else" then otherwise = self:expression() end
    value = node("conditional", token, { test = test, value = value, otherwise = otherwise })
  end
  return value
end

-- A level of operators that associate to the left.
local function level(self, find, next_level)
  local token, left, count = self.token, next_level(self), 0
  while true do
    local kind = find(self)
    if not kind then return left end
    count = count + 1
    if count > max_chain then budget.fail("an expression with more than " .. max_chain .. " operators in a row", token.at) end
    local at = self:take()
    left = node(kind, at, { left = left, right = next_level(self) })
  end
end

local function word_operator(word) return function(self) return self:is_name(word) and word or nil end end
local function symbols(...)
  local set = {}
  for _, symbol in ipairs { ... } do set[symbol] = true end
  return function(self) return set[self.token.type] and self.token.type or nil end
end
local is_or, is_and = word_operator "or", word_operator "and"
local is_sum, is_product, is_power = symbols("+", "-"), symbols("*", "/", "//", "%"), symbols "**"
local comparisons = { ["=="] = true, ["!="] = true, ["<"] = true, ["<="] = true, [">"] = true, [">="] = true }

function Parser:any_of() return level(self, is_or, self.all_of) end

function Parser:all_of() return level(self, is_and, self.negation) end

function Parser:negation()
  local token = self.token
  if self:skip_name "not" then return node("not", token, { value = self:nested(self.negation) }) end
  return self:comparison()
end

function Parser:comparison()
  local token, first, rest = self.token, self:sum(), {}
  while true do
    local operator = comparisons[self.token.type] and self.token.type
    if not operator and self:is_name "in" then operator = "in" end
    local following = self.tokens[self.position + 1]
    if not operator and self:is_name "not" and following and following.type == "name" and following.value == "in" then
      self:take()
      operator = "not in"
    end
    if not operator then break end
    local at = self:take()
    rest[#rest + 1] = { operator = operator, value = self:sum(), at = at.at }
  end
  if #rest == 0 then return first end
  return node("compare", token, { first = first, rest = rest })
end

function Parser:sum() return level(self, is_sum, self.concatenation) end

function Parser:concatenation()
  local token, parts = self.token, { self:product() }
  while self:skip "~" do parts[#parts + 1] = self:product() end
  if #parts == 1 then return parts[1] end
  return node("concatenate", token, { parts = parts })
end

function Parser:product() return level(self, is_product, self.power) end

function Parser:power() return level(self, is_power, self.unary) end

function Parser:unary(without_filters)
  local token = self.token
  local value
  if self:skip "-" then
    value = node("negative", token, { value = self:nested(self.unary, true) })
  elseif self:skip "+" then
    value = node("positive", token, { value = self:nested(self.unary, true) })
  else
    value = self:primary()
  end
  value = self:postfix(value)
  if not without_filters then value = self:filters(value) end
  return value
end

local constants = { ["true"] = true, ["True"] = true, ["false"] = false, ["False"] = false }

--- A name, a constant, or something in brackets.
---@param with_namespace boolean|nil accept `name.attribute` as a target of `set`
---@return table node
function Parser:primary(with_namespace)
  local token = self.token
  if token.type == "name" then
    self:take()
    local constant = constants[token.value]
    if constant ~= nil then return node("constant", token, { value = constant }) end
    if token.value == "none" or token.value == "None" then return node("none", token, {}) end
    if with_namespace and self:skip "." then return node("attribute_target", token, { name = token.value, attribute = self:expect("name").value }) end
    return node("name", token, { name = token.value })
  elseif token.type == "string" then
    local parts = {}
    while self.token.type == "string" do parts[#parts + 1] = self:take().value end
    return node("constant", token, { value = table.concat(parts) })
  elseif token.type == "integer" or token.type == "float" then
    self:take()
    return node(token.type, token, { value = token.value })
  elseif self:skip "(" then
    local value = self:nested(self.tuple, { parentheses = true })
    self:expect ")"
    return value
  elseif token.type == "[" then
    return self:nested(self.list)
  elseif token.type == "{" then
    return self:nested(self.dict)
  end
  return self:unexpected "an expression"
end

--- One expression, or several with commas between: a tuple.
---@param rules table { simple=, namespace=, without_condition=, parentheses=, stop= a name that ends it }
---@return table node
function Parser:tuple(rules)
  local token, items, is_tuple = self.token, {}, false
  local function one()
    if rules.simple then return self:primary(rules.namespace) end
    if rules.without_condition then return self:nested(self.any_of) end
    return self:expression()
  end
  local function ends()
    local kind = self.token.type
    return kind == "%}" or kind == "}}" or kind == ")" or rules.stop ~= nil and self:is_name(rules.stop)
  end
  while true do
    if #items > 0 then self:expect "," end
    if ends() then break end
    items[#items + 1] = one()
    if self.token.type ~= "," then break end
    is_tuple = true
  end
  if not is_tuple then
    if #items == 1 then return items[1] end
    if not rules.parentheses then self:unexpected "an expression" end
  end
  return node("tuple", token, { items = items })
end

function Parser:list()
  local token, items = self:expect "[", {}
  while self.token.type ~= "]" do
    if #items > 0 then self:expect "," end
    if self.token.type == "]" then break end
    items[#items + 1] = self:expression()
  end
  self:expect "]"
  return node("list", token, { items = items })
end

function Parser:dict()
  local token, keys, values = self:expect "{", {}, {}
  while self.token.type ~= "}" do
    if #keys > 0 then self:expect "," end
    if self.token.type == "}" then break end
    keys[#keys + 1] = self:expression()
    self:expect ":"
    values[#values + 1] = self:expression()
  end
  self:expect "}"
  return node("dict", token, { keys = keys, values = values })
end

function Parser:postfix(value)
  for _ = 1, max_chain do
    local kind = self.token.type
    if kind == "." or kind == "[" then
      value = self:subscript(value)
    elseif kind == "(" then
      value = self:call(value)
    else
      return value
    end
  end
  return budget.fail("a chain of more than " .. max_chain .. " subscripts and calls", self.token.at)
end

function Parser:filters(value)
  for _ = 1, max_chain do
    if self.token.type == "|" then
      value = self:filter(value)
    elseif self:is_name "is" then
      value = self:test(value)
    elseif self.token.type == "(" then
      value = self:call(value)
    else
      return value
    end
  end
  return budget.fail("a chain of more than " .. max_chain .. " filters", self.token.at)
end

function Parser:subscript(value)
  local token = self:take()
  if token.type == "." then
    local name = self.token
    if name.type == "name" then
      self:take()
      return node("attribute", name, { value = value, name = name.value })
    elseif name.type == "integer" then
      self:take()
      return node("item", name, { value = value, index = node("integer", name, { value = name.value }) })
    end
    self:unexpected "a name or a number"
  end
  local args = {}
  while self.token.type ~= "]" do
    if #args > 0 then self:expect "," end
    args[#args + 1] = self:subscribed()
  end
  self:expect "]"
  if #args == 1 and args[1].k == "slice" then return node("slice_of", token, { value = value, slice = args[1] }) end
  return node("item", token, { value = value, index = #args == 1 and args[1] or node("tuple", token, { items = args }) })
end

-- What stands in brackets: an index, or first:last:step.
function Parser:subscribed()
  local token, first, last, step = self.token, nil, nil, nil
  if token.type ~= ":" then
    first = self:expression()
    if self.token.type ~= ":" then return first end
  end
  self:take()
  local function ends() return self.token.type == "]" or self.token.type == "," end
  if self.token.type ~= ":" and not ends() then last = self:expression() end
  if self:skip ":" and not ends() then step = self:expression() end
  return node("slice", token, { first = first, last = last, step = step })
end

--- Arguments in parentheses: { positional, named = { { name, node } }, list = node, dict = node }.
---@return table
function Parser:arguments()
  self:expect "("
  local out = { named = {} }
  while self.token.type ~= ")" do
    local token = self.token
    local following = self.tokens[self.position + 1]
    if self:skip "*" then
      if out.list or out.dict then budget.fail("*arguments stand before **arguments, and once", token.at) end
      out.list = self:expression()
    elseif self:skip "**" then
      if out.dict then budget.fail("**arguments stand once", token.at) end
      out.dict = self:expression()
    elseif token.type == "name" and following and following.type == "=" then
      if out.dict then budget.fail("named arguments stand before **arguments", token.at) end
      self:take()
      self:take()
      out.named[#out.named + 1] = { token.value, self:expression() }
    else
      if out.list or out.dict or #out.named > 0 then budget.fail("a positional argument after a named one", token.at) end
      out[#out + 1] = self:expression()
    end
    if self.token.type ~= ")" then self:expect "," end
  end
  self:expect ")"
  return out
end

function Parser:call(value)
  local token = self.token
  return node("call", value.at and { at = value.at } or token, { value = value, arguments = self:nested(self.arguments) })
end

-- A name, with dots in it.
function Parser:dotted_name()
  local parts = { self:expect("name").value }
  while self:skip "." do parts[#parts + 1] = self:expect("name").value end
  return table.concat(parts, ".")
end

--- `| name(arguments)`, once; a filter block has no value.
---@param value table|nil
---@param inline boolean|nil the bar is already behind
---@return table node
function Parser:filter(value, inline)
  if not inline then self:expect "|" end
  local token = self.token
  local name = self:dotted_name()
  local arguments = self.token.type == "(" and self:nested(self.arguments) or { named = {} }
  return node("filter", token, { value = value, name = name, arguments = arguments })
end

-- Tokens that can begin the one argument of a test without parentheses.
local begins_argument = { name = true, string = true, integer = true, float = true, ["["] = true, ["{"] = true }
local not_arguments = { ["else"] = true, ["or"] = true, ["and"] = true }

function Parser:test(value)
  self:expect "name"
  local negated = self:skip_name "not"
  local token = self.token
  local name = self:dotted_name()
  local arguments = { named = {} }
  if self.token.type == "(" then
    arguments = self:nested(self.arguments)
  elseif begins_argument[self.token.type] and not (self.token.type == "name" and not_arguments[self.token.value]) then
    if self:is_name "is" then budget.fail("tests cannot be chained with `is`", self.token.at) end
    arguments[1] = self:postfix(self:primary())
  end
  local result = node("test", token, { value = value, name = name, arguments = arguments })
  return negated and node("not", token, { value = result }) or result
end

return Parser
