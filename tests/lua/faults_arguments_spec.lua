-- Wrong values in every place of the public surface: each function and method that there is gets values of every
-- kind, with and without its object. What is refused is refused with an error table, never with Lua's own text, and
-- never as "internal".
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

core.on_warning(function() end)
local m = pl.load("tests/golden/llama-gqa", { threads = 1 })
local tok, tensor, batch = m.tokenizer, pl.random({ 3, 4 }, { axes = { "a", "b" } }), pl.batch { { 1, 2 }, { 3 } }
local engine = pl.engine(m)
local request = engine:submit({ 3, 4 }, { max_new_tokens = 1 })
engine:drain()
local objects = {
  pl = pl, model = m, tokenizer = tok, tensor = tensor, batch = batch, cache = m:cache(), engine = engine, request = request,
  trace = m:trace("a b", "layers.*.attention"), chain = pl.pipeline { function(row) return row end },
  pipeline = pl.pipeline("text-classification", "tests/golden/bert-sequence"),
}
-- They do what they say, or need more than wrong values.
local left_out = { on_warning = true, family = true, set_threads = true, close = true, interrupt = true, save = true, plot = true, timeline = true,
  get = true, keep = true, drain = true, __metatable = true, try = true }

local none = {}   -- stands for nil
local values = { false, 0, -1, 1.5, 0 / 0, 1 / 0, "", "x", {}, { 1 }, { {} }, { a = {} }, function() end, tensor, batch, m, tok,
  coroutine.create(print), none }

local function names_of(object)
  if type(object) == "userdata" then return core.members(object) end
  local names, meta = {}, getmetatable(object)
  local function add(from)
    for name, value in pairs(from) do
      if type(name) == "string" and (type(value) == "function" or from == object) then names[#names + 1] = name end
    end
  end
  add(object)
  if meta then add(type(rawget(meta, "__index")) == "table" and meta.__index or meta) end
  for _, name in ipairs(meta and meta.names and meta.names() or {}) do names[#names + 1] = name end
  return names
end

-- Raw errors of one call, by the words they have in common.
local function try(found, what, f, ...)
  local arguments = { ... }
  for i = 1, select("#", ...) do
    if arguments[i] == none then arguments[i] = nil end
  end
  local fine, err = pcall(f, unpack(arguments, 1, select("#", ...)))
  if fine and type(err) == "function" and what ~= "pl.where" then fine, err = pcall(err) end
  if fine or type(err) == "table" and err.code ~= "internal" then return end
  found[what .. ": " .. (tostring(err):gsub("%d+", "N"))] = true
end

local printed = print

for object_name, object in pairs(objects) do
  t.test("wrong values: " .. object_name, function()
    local found, called = {}, 0
    print = function() end   -- luacheck: ignore
    for _, name in ipairs(names_of(object)) do
      local fine, f = pcall(function() return object[name] end)
      if fine and type(f) == "function" and not left_out[name] and not name:find "^__" then
        called = called + 1
        for i, first in ipairs(values) do
          for j = 1 + i % 3, #values, 3 do
            if object_name ~= "pl" then try(found, object_name .. ":" .. name, f, object, first, values[j]) end
            try(found, object_name .. "." .. name, f, first, values[j])
          end
        end
      end
    end
    print = printed   -- luacheck: ignore
    local list = {}
    for text in pairs(found) do list[#list + 1] = text end
    table.sort(list)
    t.ok(called > 0, "nothing was called")
    t.equal(table.concat(list, "\n"), "")
  end)
end

local templates = { "{{ range(none) }}", "{{ range('x') }}", "{{ range(1, 2, 0) }}", "{% for i in 5 %}{% endfor %}", "{{ none.x.y }}",
  "{{ 'x' * none }}", "{{ dict(5) }}", "{{ namespace(1) }}", "{{ 'a'|join(5) }}", "{{ 5|length }}", "{{ 'a'.replace(1) }}", "{{ 'a'.center() }}",
  "{{ strftime_now(5) }}", "{{ raise_exception(none) }}", "{{ [1]|map(5) }}", "{{ 'x'|round }}", "{{ [1, 'a']|sort }}", "{{ 'abc'[none] }}",
  "{{ [1, 2][::0] }}", "{{ range(1000000000)|list }}", "{{ 'x' * 1000000000 }}" }
for _, source in ipairs(templates) do
  t.test("a template's wrong values: " .. source, function()
    local found = {}
    try(found, source, tok.chat, tok, { { role = "user", content = "x" } }, { template = source })
    t.equal(next(found), nil)
  end)
end
