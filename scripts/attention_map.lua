-- Who looks at whom: the attention weights of one layer and head as a picture.
--   perilune scripts/attention_map.lua [MODEL] [TEXT] [LAYER from 0] [HEAD from 1]
local pl = require "perilune"

local here = arg[0]:match "^(.*)/[^/]*$" or "."
local m = pl.load(arg[1] or here .. "/models/tales")
local text = arg[2] or "Once upon a time, a brave fox named Mira lived"
local layer, head = tonumber(arg[3] or 0), tonumber(arg[4] or 1)

local path = ("layers.%d.attention.weights"):format(layer)
local weights = m:trace(text, path)[path]:at { head = head }   -- [token, key]

local pieces = {}
for i, token in ipairs(m.tokenizer:tokens(text)) do pieces[i] = token.piece:gsub("▁", " ") end

local shades = { " ", "░", "▒", "▓", "█" }
print(("layer %d, head %d of %d: each row looks at the columns before it"):format(layer, head, m.config.num_attention_heads))
for i, row in ipairs(weights:tolist()) do
  local cells = {}
  for j = 1, i do
    local shade = shades[1 + math.min(#shades - 1, math.floor(row[j] * #shades))]
    cells[j] = shade .. shade
  end
  print(("%14s |%s"):format((pieces[i] or "?"):sub(1, 14), table.concat(cells)))
end
print((" "):rep(16) .. "darkest: all of its attention; blank: less than a fifth")
