-- Prints docs/quantization.md anew, with what was measured kept as it is:
-- perilune scripts/make_quantization.lua > page && mv page docs/quantization.md
-- With a file as argument, what was measured is that file's text.
local page = require "perilune.help.quantization_page"

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local old = read "docs/quantization.md"
io.write(page.text(arg[1] and assert(read(arg[1])) or old and page.measured(old)))
