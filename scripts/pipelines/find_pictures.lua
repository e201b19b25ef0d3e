-- Pictures of a folder nearest to a description: perilune scripts/pipelines/find_pictures.lua [TEXT] [FOLDER] [MODEL]
-- MODEL is a CLIP folder; the default one has random weights. TEXT may be a picture's path: pictures like it.
local pl = require "perilune"

local wanted, folder, model = arg[1] or "a boat in the harbour", arg[2] or "tests/images", arg[3] or "tests/golden/clip-plain"
local m = pl.load(model)
local query = pl.files.exists(wanted) and m:embed { image = wanted } or m:embed(wanted, { truncate = "model" })
local look = pl.pipeline("image-feature-extraction", m)
local paths, found = {}, {}
for _, name in ipairs(pl.files.list(folder)) do
  if name:find "%.png$" or name:find "%.jpe?g$" then paths[#paths + 1] = folder .. "/" .. name end
end
for path, vector, err in look:each(paths) do
  if vector then found[#found + 1] = { score = (query * vector):sum(), path = path } else print(path, tostring(err)) end
end
table.sort(found, function(a, b) return a.score > b.score end)
for i = 1, math.min(5, #found) do print(("%.3f"):format(found[i].score), found[i].path) end
