-- Any labels, without training: perilune scripts/pipelines/zero_shot.lua [TEXT] [LABEL…]
-- Asks a model of entailment whether "This example is about LABEL." follows from the text.
local pl = require "perilune"

local labels = { unpack(arg, 2) }
if #labels == 0 then labels = { "travel", "cooking", "war" } end
local pipe = pl.pipeline("zero-shot-classification", "tests/golden/bert-sequence",
  { candidate_labels = labels, hypothesis_template = "This example is about {}." })
local result = pipe(arg[1] or "We took the night train to the sea.")
for i, label in ipairs(result.labels) do print(label, ("%.3f"):format(result.scores[i])) end
