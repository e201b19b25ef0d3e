-- Jinja as published chat templates use it: data in, a text out. A template computes on what it is
-- given and on nothing else, within limits of steps, bytes and depth. Python's rules hold for text,
-- numbers, truth and order; newlines after tags and spaces before them are dropped (trim_blocks,
-- lstrip_blocks); `break`, `continue` and `{% generation %}` are known.
local core = require "perilune.core"
local budget = require "perilune.chat.jinja.budget"
local text = require "perilune.chat.jinja.text"
local lexer = require "perilune.chat.jinja.lexer"
local parser = require "perilune.chat.jinja.parser"
local import = require "perilune.chat.jinja.import"
local interpreter = require "perilune.chat.jinja.interpreter"
local globals = require "perilune.chat.jinja.globals"

local jinja = {}

--- Steps one rendering may take: about one for each part of an expression and each turn of a loop;
--- and how many more for each byte of what it is given, since a template reads messages more than once.
jinja.max_steps = 5e6
jinja.steps_per_byte = 64

--- Bytes of output, and of any text on the way; and how many more for each byte of what it is given.
jinja.max_bytes = 16 * 2 ^ 20
jinja.bytes_per_byte = 8

--- Bytes of a template's own text.
jinja.max_source = 2 ^ 20

-- The line around a place, with a mark under it.
local function excerpt(source, at)
  local first = at
  while first > 1 and source:sub(first - 1, first - 1) ~= "\n" do first = first - 1 end
  local line = source:match("^[^\n]*", first)
  local column = text.length(source:sub(first, at - 1)) + 1
  local from = math.max(1, column - 60)
  local chars = text.chars(line)
  local shown = table.concat(chars, "", from, math.min(#chars, from + 99))
  local blank = table.concat(chars, "", from, math.min(#chars, column - 1)):gsub("[^\t\128-\255]", " "):gsub("[\194-\244][\128-\191]*", " ")
  return column, "\n  " .. shown .. "\n  " .. blank .. "^"
end

-- An error of the template as an error of the caller.
local function report(raised, op, source, at)
  if type(raised) ~= "table" or rawget(raised, "jinja") == nil then
    if type(raised) ~= "string" or raised:find "interrupted$" then error(raised, 0) end
    raised = { jinja = raised:find "stack overflow" and "nested too deeply" or raised }
  end
  at = math.max(1, math.min(raised.at or at or 1, #source + 1))
  budget.begin(math.huge, math.huge)
  local line = select(2, source:sub(1, at - 1):gsub("\n", "")) + 1
  local column, shown = excerpt(source, at)
  core.error { code = raised.code or "format", op = op, level = 1, hint = raised.hint,
    message = ("template line %d, column %d: %s%s"):format(line, column, raised.jinja, shown) }
end

-- Parsed templates by their text; a few, because a program uses few.
local parsed, parsed_count = {}, 0
local max_parsed = 32

--- Parses a template, or finds it parsed.
---@param source string
---@param op string|nil the operation that errors name
---@return table template for jinja.run
function jinja.compile(source, op)
  op = op or "jinja"
  if type(source) ~= "string" then core.error { code = "argument", op = op, message = "a template is a text", level = 1 } end
  if parsed[source] then return parsed[source] end
  if #source > jinja.max_source then
    core.error { code = "format", op = op, level = 1, message = ("the template has %d bytes, more than %d"):format(#source, jinja.max_source) }
  end
  local normal = lexer.normalize(source)
  budget.begin(math.huge, math.huge)
  local fine, body, names = pcall(parser.parse, normal)
  if not fine then report(body, op, normal) end
  if parsed_count >= max_parsed then parsed, parsed_count = {}, 0 end
  parsed[source], parsed_count = { source = normal, body = body, names = names }, parsed_count + 1
  return parsed[source]
end

--- Whether a template reads a name anywhere.
---@param source string
---@param name string
---@param op string|nil
---@return boolean
function jinja.reads(source, name, op) return jinja.compile(source, op).names[name] == true end

--- Renders a template.
---@param source string the template
---@param variables table<string, any> what it may read; Lua values, or what import.json gave
---@param opts table|nil { op=, date=, max_steps=, max_bytes= }
---@return string
function jinja.render(source, variables, opts)
  opts = opts or {}
  local op = opts.op or "jinja"
  local template = jinja.compile(source, op)
  local run
  budget.begin(math.huge, math.huge)
  local fine, result = pcall(function()
    local names, size = globals.new(opts.date), 0
    for name, value in pairs(variables) do
      names[name] = import.value(value, name)
      size = size + import.size(names[name])
    end
    local max_bytes = opts.max_bytes or jinja.max_bytes + jinja.bytes_per_byte * size
    budget.begin(opts.max_steps or jinja.max_steps + jinja.steps_per_byte * size, max_bytes)
    run = interpreter.new(template.body, names, max_bytes)
    return interpreter.render(run)
  end)
  budget.begin(math.huge, math.huge)
  if not fine then report(result, op, template.source, run and run.at) end
  return result
end

--- A value from JSON text, for `variables`: it keeps the order of keys, null, and 1.0 beside 1.
---@param source string
---@param op string|nil
---@return any
function jinja.json(source, op)
  budget.begin(math.huge, math.huge)
  local fine, value = pcall(import.json, source)
  if not fine then
    core.error { code = "format", op = op or "jinja", level = 1, message = type(value) == "table" and value.jinja or tostring(value) }
  end
  return value
end

return jinja
