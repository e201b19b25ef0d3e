-- An encoder-decoder's answer, the best of four beams: perilune scripts/pipelines/write.lua [TEXT] [MODEL]
-- The same way for summaries and translations: the tasks "summarization" and "translation".
local pl = require "perilune"

local pipe = pl.pipeline("text2text-generation", arg[2] or "tests/golden/t5-gated-untied", { num_beams = 4, max_new_tokens = 16 })
local result = pipe(arg[1] or "The festival of Bishamon")
print(result.finish_reason, ("%.3f"):format(result.score), result.text)
