-- What pl.simulate found as a picture: a line a request, time to the right.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"

local timeline = {}

local width, margin, most_height = 900, 60, 900
local colours = { wait = "#ddd", prompt = "#38c", token = "#7b4", dropped = "#c33", fill = "#e90" }

local function rect(x, y, w, h, colour)
  return ('<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>'):format(x, y, math.max(w, 0.3), h, colour)
end

local function text(x, y, words, anchor)
  return ('<text x="%.1f" y="%.1f" font-family="sans-serif" font-size="11" text-anchor="%s">%s</text>'):format(x, y, anchor or "start", words)
end

-- Where a request waited and how it ended.
local function waits(result, x_of, y_of, high)
  local parts = {}
  for i, request in ipairs(result.requests) do
    local from, to = x_of(request.arrive_ms), x_of(request.end_ms)
    parts[#parts + 1] = rect(from, y_of(i), to - from, high, colours.wait)
    if request.finish_reason == "cancelled" or request.finish_reason == "error" then
      parts[#parts + 1] = rect(to - 2, y_of(i), 4, high, colours.dropped)
    end
  end
  return parts
end

local function legend(y)
  local parts, x = {}, margin
  for _, entry in ipairs { { "wait", "waits" }, { "prompt", "reads its prompt" }, { "token", "writes" }, { "dropped", "dropped or failed" },
    { "fill", "padding (below)" } } do
    parts[#parts + 1] = rect(x, y - 9, 10, 10, colours[entry[1]])
    parts[#parts + 1] = text(x + 14, y, entry[2])
    x = x + 40 + 7 * #entry[2]
  end
  return parts
end

-- Positions of each step as columns: tokens, and on them what padding adds.
local function columns(result, x_of, y, high)
  local parts, most = {}, 1
  for _, step in ipairs(result.timeline) do most = math.max(most, step.positions) end
  for _, step in ipairs(result.timeline) do
    local x, w = x_of(step.at_ms), x_of(step.at_ms + step.ms) - x_of(step.at_ms)
    local whole, own = step.positions / most * high, step.tokens / most * high
    if whole > own then parts[#parts + 1] = rect(x, y + high - whole, w, whole - own, colours.fill) end
    parts[#parts + 1] = rect(x, y + high - own, w, own, colours.prompt)
  end
  parts[#parts + 1] = text(margin - 4, y + 10, tostring(most), "end")
  parts[#parts + 1] = text(margin - 4, y + high, "0", "end")
  return parts
end

--- An SVG of a simulation.
---@param result table as pl.simulate gives it
---@return string
function timeline.svg(result)
  if type(result) ~= "table" or type(result.timeline) ~= "table" or type(result.requests) ~= "table" then
    raise("argument", "timeline", "expected what pl.simulate gives, got " .. options.show(result))
  end
  local count = math.max(1, #result.requests)
  local line = math.max(1, math.min(14, most_height / count))
  local span = math.max(result.ms, 1e-9)
  local function x_of(ms) return margin + ms / span * width end
  local function y_of(i) return 30 + (i - 1) * line end
  local high, below = line * 0.8, 30 + count * line + 20
  local parts = { ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d">'):format(width + 2 * margin, below + 110),
    '<rect width="100%" height="100%" fill="white"/>' }
  local function add(list) for _, part in ipairs(list) do parts[#parts + 1] = part end end
  add(legend(16))
  add(waits(result, x_of, y_of, high))
  local read = {}
  for _, step in ipairs(result.timeline) do
    local x, w = x_of(step.at_ms), x_of(step.at_ms + step.ms) - x_of(step.at_ms)
    for _, ran in ipairs(step.ran) do
      local reads = (read[ran.request] or 0) < result.requests[ran.request].prompt
      read[ran.request] = (read[ran.request] or 0) + ran.tokens
      parts[#parts + 1] = rect(x, y_of(ran.request), w, high, reads and colours.prompt or colours.token)
    end
  end
  add(columns(result, x_of, below, 60))
  local unit = result.by or "ms"
  parts[#parts + 1] = text(margin, below + 78, "0 " .. unit)
  parts[#parts + 1] = text(margin + width, below + 78, ("%.6g %s"):format(result.ms, unit), "end")
  parts[#parts + 1] = text(margin + width / 2, below + 78, ("%d steps, %.1f %% padding"):format(result.steps, 100 * result.waste), "middle")
  parts[#parts + 1] = "</svg>"
  return table.concat(parts, "\n") .. "\n"
end

return timeline
