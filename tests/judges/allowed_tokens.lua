-- Writes what constrained.py compares: a vocabulary as bytes, and for each grammar the tokens that may come next
-- at every step of an answer. `perilune tests/judges/allowed_tokens.lua OUT.jsonl`
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

for i, source in ipairs(grammars) do
  if source.json_schema then source.whitespace = "none" end
  for seed = 1, 6 do
    local steps = {}
    local result = m:generate("Once upon a time", { grammar = pl.grammar(source), do_sample = true, seed = seed * 100 + i, temperature = 2,
      max_new_tokens = 24, processors = function(row)
        local open = {}
        for at, score in ipairs(row:tolist()) do if score > -math.huge then open[#open + 1] = at - 1 end end
        steps[#steps + 1] = open
      end })
    out:write(pl.json.encode { source = source, ids = pl.json.list(result.ids), steps = pl.json.list(steps), finish = result.finish_reason,
      stop = m.tokenizer.specials.eos }, "\n")
  end
end
out:close()
