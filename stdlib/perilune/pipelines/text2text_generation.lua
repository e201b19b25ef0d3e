-- text2text-generation: an encoder-decoder's answer to a text; the answer is m:generate's Result.
local generating = require "perilune.pipelines.generating"

return generating.task {
  heads = { "seq2seq" }, head = "seq2seq",
  prompt = function(p, input) return p.tokenizer:ids(generating.text(p, input)) end,
}
