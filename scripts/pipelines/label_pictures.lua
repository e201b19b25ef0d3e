-- Labels of pictures: perilune scripts/pipelines/label_pictures.lua [PICTURE…]
local pl = require "perilune"

local paths = #arg > 0 and arg or { "tests/images/rgb.png", "tests/images/rgb.jpg" }
local classify = pl.pipeline("image-classification", "tests/golden/vit-sequence", { top_k = 3 })   -- random weights
for path, labels, err in classify:each(paths) do
  if err then print(path, tostring(err)) end
  for _, one in ipairs(labels or {}) do print(path, ("%.3f"):format(one.score), one.label) end
end
