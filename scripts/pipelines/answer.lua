-- Where a long text answers a question: perilune scripts/pipelines/answer.lua [QUESTION] [FILE] [MODEL]
-- The text is read in windows that share 32 tokens, so its length does not matter.
local pl = require "perilune"

local question, file = arg[1] or "What does it never do?", arg[2] or "README.md"
local pipe = pl.pipeline("question-answering", arg[3] or "tests/golden/distilbert-question", { stride = 32, top_k = 3 })
for _, answer in ipairs(pipe { question = question, context = io.open(file):read "*a" }) do
  print(("%.4f"):format(answer.score), ("bytes %d to %d"):format(answer.first, answer.last), (answer.answer:gsub("%s+", " ")))
end
