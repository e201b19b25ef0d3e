-- The ops of a compiled pass as an SVG: boxes in the order they run, lines from who makes a value to who reads it.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local program_graph = {}

local step, left, width, high = 26, 30, 620, 20
local colours = { linear = "#cfe3f7", attention = "#f7d9c4", embedding = "#d9ead3", rms_norm = "#eee6c8", layer_norm = "#eee6c8", kv_write = "#e8d5f0" }

local function escape(text) return (text:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })) end

-- "layers.0.x (%1, ids) -> %2 f32[...] in buffer 1  in …, file:line" → what is read, what is made, the module.
local function parts_of(text)
  local before, after = text:match "^(.-) %-> (.*)$"
  before, after = before or text, after or ""
  local reads, makes = {}, {}
  for number in (before:match "%((.*)%)" or ""):gmatch "%%(%d+)" do reads[#reads + 1] = tonumber(number) end
  for number in after:gmatch "%%(%d+)" do makes[#makes + 1] = tonumber(number) end
  return reads, makes, before:match "^(.-)%s*%(" or before, after:match "%S+%[.-%]" or ""
end

--- Writes the picture.
---@param ops table[] as m:program gives them
---@param path string
---@return table[] ops
function program_graph.write(ops, path)
  if type(path) ~= "string" or path == "" then raise("argument", "graph", "expected a file name, got " .. options.show(path)) end
  local parts, maker, farthest = {}, {}, 1
  for i, op in ipairs(ops) do
    local reads, makes, module, shape = parts_of(op.text)
    local y = 20 + (i - 1) * step
    for _, value in ipairs(reads) do
      local from = maker[value]
      if from then
        local x, start = left + width, 20 + (from - 1) * step + high / 2
        local bow = i - from == 1 and 10 or 20 + math.min(200, (i - from) * 5)
        farthest = math.max(farthest, bow)
        local stop = y + high / 2
        parts[#parts + 1] = ('<path d="M%d %.0fC%.0f %.0f %.0f %.0f %d %.0f" fill="none" stroke="#678"/>'):format(x, start, x + bow, start, x + bow, stop,
          x, stop)
      end
    end
    for _, value in ipairs(makes) do maker[value] = i end
    parts[#parts + 1] = ('<rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="%s" stroke="#999"><title>%s</title></rect>'):format(left, y, width, high,
      colours[op.op] or "#eee", escape(op.text))
    parts[#parts + 1] = ('<text x="%d" y="%d"><tspan font-weight="bold">%s</tspan> %s</text>'):format(left + 8, y + 14, escape(op.op), escape(module))
    parts[#parts + 1] = ('<text x="%d" y="%d" text-anchor="end" fill="#555">%s</text>'):format(left + width - 8, y + 14, escape(shape))
  end
  core.write_file(path, ([[<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">
<rect width="100%%" height="100%%" fill="white"/>
%s
</svg>
]]):format(left * 2 + width + farthest, 40 + #ops * step, table.concat(parts, "\n")))
  return ops
end

return program_graph
