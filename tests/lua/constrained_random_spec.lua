-- 200 random schemas and 200 random grammars: what is generated parses and is valid by a validator of its own,
-- or is the beginning of such a text. PERILUNE_CONSTRAINED_OUT names a file that gets schemas and texts for
-- another judge (tests/judges/constrained.py).
local pl = require "perilune"
local t = require "spec"

local m = pl.load("scripts/models/tales", { compute = "f32" })

-- Numbers that are the same everywhere.
local state
local function pick(n)
  state = (state * 1103515245 + 12345) % 2147483648
  return math.floor(state / 65536) % n + 1
end
local function one_of(list) return list[pick(#list)] end
local function chance(n) return pick(n) == 1 end

-- ---------------------------------------------------------------- schemas, as JSON texts

local schema

local makers = {
  function() return '{"type":"boolean"}' end,
  function() return '{"type":"null"}' end,
  function()
    local low = pick(200) - 100
    return one_of { '{"type":"integer"}', ('{"type":"integer","minimum":%d}'):format(low), ('{"type":"integer","maximum":%d}'):format(low),
      ('{"type":"integer","minimum":%d,"maximum":%d}'):format(low, low + pick(1500)),
      ('{"type":"integer","exclusiveMinimum":%d,"exclusiveMaximum":%d}'):format(low, low + 1 + pick(40)),
      ('{"type":"integer","multipleOf":%d}'):format(pick(12)), ('{"type":"integer","minimum":%d,"multipleOf":%d}'):format(low, pick(9)),
      ('{"type":"integer","minimum":0,"maximum":9,"not":{"enum":[%d,%d]}}'):format(pick(9), pick(9)) }
  end,
  function()
    local low = pick(20) - 10
    return one_of { '{"type":"number"}', ('{"type":"number","minimum":%d,"maximum":%d}'):format(low, low + pick(30)),
      ('{"type":"number","exclusiveMinimum":%d}'):format(low), ('{"type":"number","minimum":%g,"maximum":%g}'):format(low / 8, low / 8 + pick(9) / 4),
      ('{"type":"number","multipleOf":0.25,"exclusiveMinimum":%g}'):format(low / 8), '{"type":"number","multipleOf":0.5}' }
  end,
  function()
    local low = pick(5) - 1
    return one_of { '{"type":"string"}', ('{"type":"string","minLength":%d,"maxLength":%d}'):format(low, low + pick(9)),
      '{"type":"string","pattern":"^[a-z]+(-[0-9]{2})?$"}', '{"type":"string","pattern":"b.?c"}', '{"type":"string","format":"date"}',
      ('{"type":"string","pattern":"b.?c","maxLength":%d}'):format(3 + low), '{"type":"string","not":{"enum":["","a"]},"maxLength":3}' }
  end,
  function() return one_of { '{"enum":["red","green",3,null,[1]]}', '{"const":{"a":1}}', '{"enum":["é","\\"q\\""]}' } end,
  function(depth)
    local low = pick(3) - 1
    return one_of { ('{"type":"array","items":%s}'):format(schema(depth)),
      ('{"type":"array","items":%s,"minItems":%d,"maxItems":%d}'):format(schema(depth), low, low + pick(3)),
      ('{"type":"array","prefixItems":[%s,%s],"minItems":1}'):format(schema(depth), schema(depth)),
      '{"type":"array","items":{"enum":["a","b","c",7]},"uniqueItems":true,"minItems":1}',
      ('{"type":"array","items":{"type":"integer","minimum":0,"maximum":20},"contains":{"const":%d},"maxItems":4}'):format(pick(20)) }
  end,
  function(depth)
    local members, needed = {}, {}
    for i = 1, pick(4) do
      local name = one_of { "name", "age", "kind", "x", "ü" } .. i
      members[i] = ('"%s":%s'):format(name, schema(depth))
      if chance(2) then needed[#needed + 1] = ('"%s"'):format(name) end
    end
    local more = one_of { "", "", ',"additionalProperties":false', ',"additionalProperties":' .. schema(depth) }
    if chance(4) then more = more .. (',"minProperties":%d'):format(pick(#members)) end
    if chance(4) then more = more .. (',"maxProperties":%d'):format(math.max(1, #needed)) end
    if chance(4) then more = more .. ',"patternProperties":{"^z[0-9]":{"type":"integer"}}' end
    if chance(6) then more = more .. ',"if":{"required":["kind1"]},"then":{"required":["age2"]}' end
    return ('{"type":"object","properties":{%s},"required":[%s]%s}'):format(table.concat(members, ","), table.concat(needed, ","), more)
  end,
  function(depth) return ('{"anyOf":[%s,%s]}'):format(schema(depth), schema(depth)) end,
  function() return '{"type":["integer","null","boolean"]}' end,
}

function schema(depth)
  if depth <= 0 then return makers[pick(6)]() end
  return makers[pick(#makers)](depth - 1)
end

-- ---------------------------------------------------------------- a validator

local null = pl.json.null
local function kind(value)
  if value == null or value == nil then return "null" end
  if type(value) ~= "table" then return type(value) end
  return value.list_ and "array" or "object"
end

-- A value of a JSON text, with lists and nulls that cannot be mistaken.
local function decode(text)
  local function marked(value)
    if type(value) ~= "table" or value == null then return value end
    local text_of = pl.json.encode(value)
    local out = { list_ = text_of:sub(1, 1) == "[" , entries = {} }
    if out.list_ then
      for i, entry in ipairs(value) do out.entries[i] = marked(entry) end
    else
      for key, entry in pairs(value) do out.entries[key] = marked(entry) end
    end
    return out
  end
  return marked(pl.json.decode(text, { null = null }))
end

local function plain(value) return type(value) == "table" and value ~= null and pl.json.encode(value) or tostring(value) end
local function same_as(value, json)
  if kind(value) == "array" or kind(value) == "object" then
    local function back(v)
      if type(v) ~= "table" or v == null then return v end
      local out = {}
      for key, entry in pairs(v.entries) do out[key] = back(entry) end
      return out
    end
    return plain(back(value)) == plain(json)
  end
  return value == json
end

local function characters(text) return select(2, text:gsub("[^\128-\191]", "")) end

local patterns = {
  ["^[a-z]+(-[0-9]{2})?$"] = function(s) return s:match "^[a-z]+$" or s:match "^[a-z]+%-%d%d$" end,
  ["b.?c"] = function(s) return s:match "bc" or s:match "b[%z\1-\127]c" or s:match "b[\194-\244][\128-\191]+c" end,
}

local valid
local function valid_type(value, s, wanted)
  local k = kind(value)
  if wanted == "integer" then return k == "number" and value % 1 == 0 end
  return k == wanted
end

local function all(list, f)
  for key, entry in pairs(list) do if not f(key, entry) then return false end end
  return true
end

local function fits_number(value, s)
  return not (s.minimum and value < s.minimum) and not (s.maximum and value > s.maximum)
    and not (s.exclusiveMinimum and value <= s.exclusiveMinimum) and not (s.exclusiveMaximum and value >= s.exclusiveMaximum)
    and not (s.multipleOf and value % s.multipleOf ~= 0)
end

local function fits_members(members, s)
  local n = 0
  for _ in pairs(members) do n = n + 1 end
  if n < (s.minProperties or 0) or n > (s.maxProperties or n) then return false end
  if s["if"] then
    if members.kind1 ~= nil and members.age2 == nil then return false end
  end
  return true
end

local function fits_list(entries, s)
  local seen, found = {}, s.contains == nil
  for _, entry in ipairs(entries) do
    if s.uniqueItems and seen[entry] then return false end
    seen[entry] = true
    found = found or entry == s.contains.const
  end
  return found
end

function valid(value, s)
  if s["not"] then for _, entry in ipairs(s["not"].enum) do if same_as(value, entry) then return false end end end
  if s.anyOf then return valid(value, s.anyOf[1]) or valid(value, s.anyOf[2]) end
  if s.const then return same_as(value, s.const) end
  if s.enum then
    for _, entry in ipairs(s.enum) do if same_as(value, entry) then return true end end
    return false
  end
  local types, fits = type(s.type) == "table" and s.type or { s.type }, false
  for _, wanted in ipairs(types) do fits = fits or valid_type(value, s, wanted) end
  if not fits then return false end
  local k = kind(value)
  if k == "number" then
    return fits_number(value, s)
  elseif k == "string" then
    local n = characters(value)
    return n >= (s.minLength or 0) and n <= (s.maxLength or n) and not (s.pattern and not patterns[s.pattern](value))
      and not (s.format and not value:match "^%d%d%d%d%-%d%d%-%d%d$")
  elseif k == "array" then
    local n = #value.entries
    return n >= (s.minItems or 0) and n <= (s.maxItems or n) and fits_list(value.entries, s) and (not s.prefixItems or n <= #s.prefixItems)
      and all(value.entries, function(i, entry) return valid(entry, s.prefixItems and s.prefixItems[i] or s.items) end)
  elseif k == "object" then
    for _, name in ipairs(s.required) do if value.entries[name] == nil then return false end end
    return fits_members(value.entries, s) and all(value.entries, function(name, entry)
      if s.patternProperties and name:match "^z%d" then return valid(entry, { type = "integer" }) end
      if s.properties[name] then return valid(entry, s.properties[name]) end
      return type(s.additionalProperties) == "table" and valid(entry, s.additionalProperties)
    end)
  end
  return true
end

-- ---------------------------------------------------------------- the tests

local function generated(sources, length)
  local prompts = {}
  for i, source in ipairs(sources) do
    prompts[i] = { prompt = one_of { "Once upon a time", "{", "The answer:" }, grammar = pl.grammar(source), do_sample = true,
      seed = i, temperature = one_of { 0.7, 1, 1.5 }, max_new_tokens = length }
  end
  return m:generate(prompts), prompts
end

t.test("200 schemas", function()
  state = 20261130
  local sources = {}
  for i = 1, 200 do sources[i] = { json_schema = schema(3), whitespace = chance(2) and "none" or nil } end
  local results, prompts = generated(sources, 60)
  local out, whole = os.getenv "PERILUNE_CONSTRAINED_OUT", 0
  local lines = {}
  for i, result in ipairs(results) do
    local text = sources[i].json_schema
    t.equal(result.error, nil, text)
    lines[i] = pl.json.encode { schema = text, text = result.text, finish_reason = result.finish_reason }
    if result.finish_reason == "stop" then
      whole = whole + 1
      t.ok(prompts[i].grammar:accepts(result.text))
      t.ok(valid(decode(result.text), pl.json.decode(text, { null = null })), ("schema %d %s: %s"):format(i, text, result.text))
    else
      t.ok(prompts[i].grammar:prefix(result.text), ("schema %d %s: %s"):format(i, text, result.text))
    end
  end
  t.ok(whole > 100, whole .. " of 200 came to an end")
  if out then
    local file = assert(io.open(out, "w"))
    file:write(table.concat(lines, "\n"), "\n")
    file:close()
  end
end)

-- A random expression as GBNF and as a regular expression, with rules for the first.
local function expression(depth, rules)
  if depth <= 0 then
    local text = one_of { "a", "bc", "é", "The", " ", "x1" }
    if chance(3) then return "[a-e ]", "[a-e ]" end
    return '"' .. text .. '"', text
  end
  local what = pick(5)
  local a, ra = expression(depth - 1, rules)
  if what == 1 then
    local op = one_of { "*", "+", "?", "{2}", "{1,3}", "{2,}" }
    return ("(%s)%s"):format(a, op), ("(?:%s)%s"):format(ra, op)
  end
  local b, rb = expression(depth - 1, rules)
  if what == 2 then return ("(%s | %s)"):format(a, b), ("(?:%s|%s)"):format(ra, rb) end
  if what == 3 then
    rules[#rules + 1] = ("part%d ::= %s"):format(#rules + 1, a)
    return ("part%d %s"):format(#rules, b), ("(?:%s)%s"):format(ra, rb)
  end
  return ("%s %s"):format(a, b), ra .. rb
end

t.test("200 grammars, each as GBNF and as a regular expression", function()
  state = 4711
  local sources, twins = {}, {}
  for i = 1, 200 do
    local rules = {}
    local gbnf, regex = expression(pick(4), rules)
    rules[#rules + 1] = 'root ::= "<" ' .. gbnf .. ' ">"'
    sources[i], twins[i] = { gbnf = table.concat(rules, "\n") }, pl.grammar { regex = "<" .. regex .. ">" }
  end
  local results, prompts = generated(sources, 20)
  for i, result in ipairs(results) do
    t.equal(result.error, nil, sources[i].gbnf)
    local g, twin = prompts[i].grammar, twins[i]
    if result.finish_reason == "stop" then t.ok(g:accepts(result.text), result.text) end
    t.ok(g:prefix(result.text) and twin:prefix(result.text), sources[i].gbnf .. "\n" .. result.text)
    t.equal(twin:accepts(result.text), g:accepts(result.text), sources[i].gbnf .. "\n" .. result.text)
    local broken = result.text .. "}"
    t.ok(not g:prefix(broken) and not twin:prefix(broken))
  end
end)

t.test("random nested brackets end where they close", function()
  local g = pl.grammar { gbnf = 'root ::= "[" ( root | [a-c] )* "]"' }
  for seed = 1, 20 do
    local result = m:generate("x", { grammar = g, do_sample = true, seed = seed, temperature = 3, max_new_tokens = 40 })
    local open = 0
    for bracket in result.text:gmatch "[%[%]]" do open = open + (bracket == "[" and 1 or -1) end
    t.equal(open == 0, result.finish_reason == "stop", result.text)
    t.ok(g:prefix(result.text))
  end
end)
