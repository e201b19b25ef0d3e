-- summarization: text2text-generation with the prefix and defaults that config.json has for this task.
local generating = require "perilune.pipelines.generating"

return generating.task {
  heads = { "seq2seq" }, head = "seq2seq", spec = { prefix = "string" },
  prepare = function(p) generating.task_parameters(p, function(name) return name == "summarization" end) end,
  prompt = function(p, input) return p.tokenizer:ids((p.options.prefix or p.prefix_ or "") .. generating.text(p, input)) end,
}
