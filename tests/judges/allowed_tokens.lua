-- Writes what constrained.py compares: a vocabulary as bytes, and for each grammar the tokens that may come next
-- at every step of an answer. `perilune tests/judges/allowed_tokens.lua OUT.jsonl [N]`: of N random schemas and N random
-- grammars (half of them regular expressions, half GBNF) instead of the listed ones.
local pl = require "perilune"
local core = require "perilune.core"

local m = pl.load("scripts/models/tales", { compute = "f32" })
local bytes = core.token_bytes(m.tokenizer, true)
local out = assert(io.open(arg[1], "w"))

local function hex(text) return (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
local vocabulary, special = {}, {}
for id = 0, m.tokenizer.max_id do
  local text = bytes:text { id }
  vocabulary[id + 1] = hex(text)
  if text == "" then special[#special + 1] = id end
end
out:write(pl.json.encode { tokens = vocabulary, special = special }, "\n")

local grammars = {
  { regex = "[a-z]+( [a-z]+)*\\." }, { regex = "([0-9]{3}-)?[0-9]{4}( ext\\. [0-9]{1,3})?" }, { regex = "[^\"\\\\\\n]{0,12}\"" },
  { regex = "(é|日本|🙂|x){2,5}" }, { regex = "(the|a) (big |small )*(dog|cat)s?( and (the|a) (dog|cat))?!" }, { regex = "[a-z0-9_]+@[a-z0-9_]+\\.(com|org)" },
  { gbnf = 'root ::= expr\nexpr ::= term ([-+*/] term)*\nterm ::= [0-9]+ | "(" expr ")"' },
  { gbnf = 'root ::= "[" (root ("," root)*)? "]"' },
  { gbnf = 'root ::= "a" root "b" | "ab"' },
  { json_schema = '{"type":"boolean"}' }, { json_schema = '{"type":"integer","minimum":-12,"maximum":3057}' },
  { json_schema = '{"enum":["red","green",3,null]}' }, { json_schema = '{"type":"string","pattern":"^[a-z]{2,5}(-[0-9]+)?$"}' },
  { json_schema = '{"type":"array","items":{"enum":["x","yz"]},"minItems":1,"maxItems":4}' },
  { json_schema = '{"type":"array","prefixItems":[{"const":1},{"type":"boolean"}],"items":false,"minItems":2}' },
  { json_schema = '{"type":"object","properties":{"a":{"type":"boolean"},"bc":{"type":"null"},"d":{"enum":[1,2]}},"required":["bc"],"additionalProperties":false}' },
  { json_schema = '{"type":"object","properties":{"v":{"enum":[1]},"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["v","next"],"additionalProperties":false}' },
}

-- ---------------------------------------------------------------- random ones, of what both read alike

-- Numbers that are the same everywhere.
local state = 15
local function pick(n)
  state = (state * 1103515245 + 12345) % 2147483648
  return math.floor(state / 65536) % n + 1
end
local function one_of(list) return list[pick(#list)] end

local function several(make, depth, most, between)
  local parts = {}
  for i = 1, pick(most) do parts[i] = make(depth - 1) end
  return table.concat(parts, between)
end

local expression
local pieces = {
  function() return one_of { "the ", "a", "ab", "ing", "é", "x1", " ", "zu", "-" } end,
  function() return one_of { "[a-z]", "[0-9]", "[^a-y ]", "[A-Za-z_]", "[ -,]", "[aeiou]{2}" } end,
  function(depth) return "(" .. several(expression, depth, 3, "|") .. ")" end,
  function(depth) return "(" .. several(expression, depth, 2, "") .. ")" .. one_of { "?", "*", "+", "{2}", "{1,3}", "{0,2}" } end,
}
function expression(depth) return depth <= 0 and pieces[pick(2)]() or several(function(d) return pieces[pick(4)](d) end, depth, 3, "") end

-- Rules call later rules alone, or themselves behind a character of their own.
local function random_gbnf()
  local count, lines = pick(3), {}
  local function part(rule)
    local kinds = {
      function() return one_of { '"the"', '"a "', '"x"', '", "', '"("', '"12"', '"é"' } end,
      function() return one_of { "[a-z]", "[0-9]+", "[^a-z]", "[A-F]" } end,
      function() return rule < count and "r" .. rule + pick(count - rule) or '"q"' end,
      function() return ('( "%s" r%d "%s" )?'):format(one_of { "<", "[", "=" }, rule, one_of { ">", "]", "!" }) end,
      function() return "( " .. one_of { '"b"', "[0-9]", '"or "' } .. " )" .. one_of { "*", "?", "+" } end,
    }
    return kinds[pick(#kinds)]()
  end
  for rule = 1, count do
    local ways = {}
    for i = 1, pick(3) do
      local parts = {}
      for k = 1, pick(3) do parts[k] = part(rule) end
      ways[i] = table.concat(parts, " ")
    end
    lines[rule] = ("r%d ::= %s"):format(rule, table.concat(ways, " | "))
  end
  return "root ::= r1\n" .. table.concat(lines, "\n")
end

local schema
local makers = {
  function() return one_of { '{"type":"boolean"}', '{"type":"null"}', '{"type":["null","boolean"]}' } end,
  function()
    local low = pick(3000) - 1500
    return ('{"type":"integer","minimum":%d,"maximum":%d}'):format(low, low + pick(4000))
  end,
  function() return one_of { '{"enum":["red","green",3,null]}', '{"const":"x y"}', '{"enum":["é",17,true]}' } end,
  function()
    return one_of { '{"type":"string","pattern":"^[a-z]{2,5}(-[0-9]+)?$"}', '{"type":"string","pattern":"^(ab|c)*$"}',
      '{"type":"string","pattern":"^[A-Z][a-z ]{0,8}$"}' }
  end,
  function(depth)
    local low = pick(3) - 1
    return ('{"type":"array","items":%s,"minItems":%d,"maxItems":%d}'):format(schema(depth), low, low + pick(3))
  end,
  function(depth) return ('{"type":"array","prefixItems":[%s,%s],"items":false,"minItems":%d}'):format(schema(depth), schema(depth), pick(3) - 1) end,
  function(depth)
    local members, needed = {}, {}
    for i = 1, pick(4) do
      members[i] = ('"%s%d":%s'):format(one_of { "name", "a", "kind", "x" }, i, schema(depth))
      if pick(2) == 1 then needed[#needed + 1] = members[i]:match '^"[^"]*"' end
    end
    return ('{"type":"object","properties":{%s},"required":[%s],"additionalProperties":false}'):format(table.concat(members, ","),
      table.concat(needed, ","))
  end,
  function(depth) return ('{"anyOf":[%s,%s]}'):format(schema(depth), schema(depth)) end,
}
function schema(depth)
  if depth <= 0 then return makers[pick(4)]() end
  return makers[pick(#makers)](depth - 1)
end

local random = tonumber(arg[2])
if random then
  grammars = {}
  for i = 1, random do
    grammars[#grammars + 1] = { json_schema = schema(3) }
    grammars[#grammars + 1] = i % 2 == 0 and { regex = expression(3) } or { gbnf = random_gbnf() }
  end
end

for i, source in ipairs(grammars) do
  if source.json_schema then source.whitespace = "none" end
  for seed = 1, random and 1 or 6 do
    local steps = {}
    local result = m:generate("Once upon a time", { grammar = pl.grammar(source), do_sample = true, seed = seed * 100 + i, temperature = 2,
      max_new_tokens = random and 14 or 24, processors = function(row)
        local open = {}
        for at, score in ipairs(row:tolist()) do if score > -math.huge then open[#open + 1] = at - 1 end end
        steps[#steps + 1] = open
      end })
    out:write(pl.json.encode { source = source, ids = pl.json.list(result.ids), steps = pl.json.list(steps), finish = result.finish_reason,
      stop = m.tokenizer.specials.eos }, "\n")
  end
end
out:close()
