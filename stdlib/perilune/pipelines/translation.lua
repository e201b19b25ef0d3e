-- translation: text2text-generation with the prefix that config.json has for a pair of languages
-- (source="en", target="de" → its task "translation_en_to_de").
local raise = require "perilune.base.raise"
local generating = require "perilune.pipelines.generating"

local function prepare(p)
  local source, target = p.options.source, p.options.target
  if (source == nil) ~= (target == nil) then raise("option", p.task, "options source and target go together") end
  if not source then return end
  generating.task_parameters(p, function(name) return name == ("translation_%s_to_%s"):format(source, target) end)
  if not p.defaults_ and not p.options.prefix then
    raise("option", p.task, ("config.json has no task translation_%s_to_%s"):format(source, target), "say the prefix yourself: prefix=")
  end
end

return generating.task {
  heads = { "seq2seq" }, head = "seq2seq", spec = { source = "string", target = "string", prefix = "string" }, prepare = prepare,
  prompt = function(p, input) return p.tokenizer:ids((p.options.prefix or p.prefix_ or "") .. generating.text(p, input)) end,
}
