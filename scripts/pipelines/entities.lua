-- Names in a text, and where they stand: perilune scripts/pipelines/entities.lua [TEXT] [MODEL]
-- The default model has random weights: give a real one for real names.
local pl = require "perilune"

local text, model = arg[1] or "The geisha came from Kagurazaka to the festival.", arg[2] or "tests/golden/bert-token"
local pipe = pl.pipeline("token-classification", model, { aggregation_strategy = "average" })
for _, entity in ipairs(pipe(text)) do
  print(entity.label, ("%.3f"):format(entity.score), ("bytes %d to %d"):format(entity.first, entity.last), text:sub(entity.first, entity.last))
end
