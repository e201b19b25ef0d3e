-- The words that fit a gap: perilune scripts/pipelines/fill.lua [TEXT] [MODEL]
local pl = require "perilune"

local pipe = pl.pipeline("fill-mask", arg[2] or "tests/golden/bert-masked", { top_k = 3 })
local mask = pipe.tokenizer:piece(pipe.tokenizer.specials.mask)
for _, filled in ipairs(pipe(arg[1] or ("The " .. mask .. " was the youngest."))) do
  print(("%.4f"):format(filled.score), filled.piece, filled.text)
end
