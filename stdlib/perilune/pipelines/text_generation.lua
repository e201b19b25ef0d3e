-- text-generation: a text continued; the answer is m:generate's Result.
local generating = require "perilune.pipelines.generating"

return generating.task {
  heads = { "causal" }, head = "causal",
  prompt = function(p, input) return p.tokenizer:ids(generating.text(p, input)) end,
}
