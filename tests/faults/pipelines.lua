-- Answers of published pipelines on random models against ours: see ask_pipelines.py.
local core = require "perilune.core"
local compare_pipelines = require "perilune.compare.pipelines"

local folder = assert(arg[1], "usage: perilune tests/faults/pipelines.lua FOLDER")
local check, good, bad, refused = compare_pipelines.check(folder), 0, 0, 0
local number = 0
for line in io.lines(folder .. "/answers.jsonl") do
  number = number + 1
  local row = core.json(line)
  if row.error then
    refused = refused + 1
  else
    local ok, problem = pcall(check, row)
    if ok and not problem then
      good = good + 1
    else
      bad = bad + 1
      print(("%d %s %s: %s"):format(number, row.task, row.model, tostring(problem):gsub("\n", " | "):sub(1, 300)))
    end
  end
end
print(("%d equal, %d differ, %d refused by the published version"):format(good, bad, refused))
if bad > 0 then os.exit(1) end
