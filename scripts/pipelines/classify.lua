-- Labels for the lines of a file, a window at a time: perilune scripts/pipelines/classify.lua [FILE] [MODEL]
-- Prints a label, its score and the line. A line that fails leaves the others alone.
local pl = require "perilune"

local file, model = arg[1] or "README.md", arg[2] or "scripts/models/reviews"
local pipe = pl.pipeline("text-classification", model, { truncate = "model" })
for line, result, err in pipe:each(io.lines(file), { window = 64 }) do
  if err then print("error", tostring(err)) else print(result.label, ("%.3f"):format(result.score), line) end
end
