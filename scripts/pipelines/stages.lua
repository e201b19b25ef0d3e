-- A recipe of one's own from stages: perilune scripts/pipelines/stages.lua [MODEL]
-- Text to tokens, tokens to logits, logits to whatever a function makes of them.
local pl = require "perilune"

local m = pl.load(arg[1] or "scripts/models/reviews")
local chain = pl.pipeline {
  m.tokenizer:stage { truncate = "model" },
  m:stage {},
  function(row)
    local p = row.logits:at { batch = 1 }:softmax "class"
    return { text = row.text, tokens = row.batch.tokens, sure = p:max() }
  end,
}
for _, row in ipairs(chain { "A lovely book.", "Dull from the first page to the last." }) do
  print(("%d tokens, %.2f sure: %s"):format(row.tokens, row.sure, row.text))
end
