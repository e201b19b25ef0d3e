-- The curves of docs/performance.md: what versus.lua measured, as lines over the context, the threads and the bytes that a
-- token reads, ours and the others'.
--
--     perilune tests/bench/versus/curves.lua OUT.svg REPORT.json …
--
-- Reports are those of versus.lua --json. A curve is drawn where reports differ in what it goes over and in nothing else; the
-- best of each side's rounds counts.
local core = require "perilune.core"
local chart = require "perilune.show.chart"

local out, reports = arg[1], {}
for i = 2, #arg do reports[#reports + 1] = core.json(core.read_file(arg[i]), arg[i]) end
assert(out and reports[1], "curves: name the picture and a report or more")

-- Every run with what may differ between two.
local runs = {}
for _, report in ipairs(reports) do
  for _, run in ipairs(report.runs) do
    run.depth, run.prompt, run.processor, run.date = report.depth, report.prompt, report.processor, report.date
    run.mib = run.bytes_per_token / 2 ^ 20
    runs[#runs + 1] = run
  end
end

local names = { ours = "Perilune", llama = "llama.cpp", ik = "ik_llama.cpp" }
local kinds = {
  { over = "depth", label = "tokens of context before", title = "Context" },
  { over = "threads", label = "threads", title = "Threads" },
  { over = "mib", label = "MiB that a token reads", title = "Model size", models = true },
}

-- Runs that differ in `kind.over` (and, of sizes, in the model) alone, by what they share.
local function groups_of(kind)
  local groups, order = {}, {}
  for _, run in ipairs(runs) do
    local same = { run.prompt, run.processor }
    for _, name in ipairs { "depth", "threads" } do if name ~= kind.over then same[#same + 1] = name .. " " .. run[name] end end
    if not kind.models then same[#same + 1] = run.model end
    local key = table.concat(same, ", ")
    if not groups[key] then
      groups[key] = { runs = {}, text = table.concat(same, ", ", 3) }
      order[#order + 1] = groups[key]
    end
    groups[key].runs[run[kind.over]] = run
  end
  return order
end

local panels = {}
local function add_panel(kind, group, what)
  local lines, series = {}, {}
  for x, run in pairs(group.runs) do
    for side, rates in pairs(run[what]) do
      lines[side] = lines[side] or {}
      table.insert(lines[side], { x, math.max(unpack(rates)) })
    end
  end
  for _, side in ipairs { "ours", "llama", "ik" } do
    local points = lines[side] or {}
    table.sort(points, function(a, b) return a[1] < b[1] end)
    if #points < 2 then points = {} end
    if points[1] then
      series[#series + 1] = { kind = "line", points = points, name = names[side] }
      series[#series + 1] = { kind = "points", points = points, colour = side == "ours" and "#246" or side == "llama" and "#c52" or "#283" }
      series[#series - 1].colour = series[#series].colour
    end
  end
  if not series[1] then return end
  panels[#panels + 1] = { title = ("%s: %s (%s)"):format(kind.title, what, group.text), x = { label = kind.label }, y = { label = "tokens/s" }, series = series }
end

for _, kind in ipairs(kinds) do
  for _, group in ipairs(groups_of(kind)) do
    -- A prompt is read into an empty cache, whatever the context of decoding is.
    for _, what in ipairs(kind.over == "depth" and { "decode" } or { "prefill", "decode" }) do add_panel(kind, group, what) end
  end
end
assert(panels[1], "curves: no two runs differ in one thing alone")
panels[1].title = ("%s; %s, %s"):format(panels[1].title, runs[1].processor or "?", runs[1].date or "?")
chart.write(out, panels, ("Tokens a second, the best of each side's rounds: %s, %s"):format(runs[1].processor or "?", runs[1].date or "?"))
print(("%d curves in %s"):format(#panels, out))
