-- Lines of a file nearest in meaning to a query: perilune scripts/pipelines/search.lua [QUERY] [FILE] [MODEL]
-- `perilune get minilm` fetches a model made for this; the default one has random weights.
local pl = require "perilune"

local query, file, model = arg[1] or "how fast is it", arg[2] or "README.md", arg[3] or "tests/golden/bert-masked"
local pipe = pl.pipeline("feature-extraction", pl.load(model, { head = "base" }), { normalize = true, truncate = "model" })
local wanted, found = pipe(query), {}
for line, vector in pipe:each(io.lines(file)) do
  if vector and line ~= "" then found[#found + 1] = { score = (wanted * vector):sum(), line = line } end
end
table.sort(found, function(a, b) return a.score > b.score end)
for i = 1, math.min(5, #found) do print(("%.3f"):format(found[i].score), found[i].line) end
