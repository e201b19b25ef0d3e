-- What the published library makes of texts by random tokenizer.json files against ours: see ask_tokenizers.py.
local pl = require "perilune"
local core = require "perilune.core"

local folder = assert(arg[1], "usage: perilune tests/faults/tokenizers.lua FOLDER")

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do if a[i] ~= b[i] then return false end end
  return true
end

-- Code points of each byte boundary of a text.
local function points_of(text)
  local points, count = { [0] = 0 }, 0
  for i = 1, #text do
    local byte = text:byte(i + 1)
    if not byte or byte < 128 or byte > 191 then count = count + 1 end
    points[i] = count
  end
  return points
end

local function list(values) return "[" .. table.concat(values, " ") .. "]" end

local function places_problem(tokens, case)
  local points = { points_of(case.text), points_of(case.pair or "") }
  for i, want in ipairs(case.offsets) do
    local token = tokens[i]
    if case.sequence[i] >= 0 and token.first then
      local of = points[case.sequence[i] + 1]
      local first, last = of[token.first - 1], of[token.last]
      if first ~= want[1] or last ~= want[2] then
        return ("token %d %q: place %d-%d, expected %d-%d"):format(i, token.piece, first, last, want[1], want[2])
      end
    end
  end
end

local function problem_of(tokenizer, row, case)
  local input = case.pair and { text = case.text, pair = case.pair } or case.text
  local batch = tokenizer:encode(input)
  local ids = batch:row(1).ids
  if not same(ids, case.ids) then return "ids " .. list(ids) .. ", expected " .. list(case.ids) end
  if case.pair and not same(batch.type_ids:tolist(), case.types) then return "type ids" end
  local problem = places_problem(tokenizer:tokens(input), case)
  if problem then return problem end
  for _, special in ipairs { false, true } do
    local want = special and case.decoded_all or case.decoded
    local text = tokenizer:decode(ids, { special = special })
    if text ~= want then return ("decoded %q, expected %q"):format(text, want) end
    local decoder, parts = tokenizer:decoder { special = special }, {}
    for i, id in ipairs(ids) do parts[i] = decoder:push(id) end
    parts[#parts + 1] = decoder:flush()
    if table.concat(parts) ~= want then return ("streamed %q, expected %q"):format(table.concat(parts), want) end
  end
  if not case.cut then return end
  local how = row.truncation
  local cut = tokenizer:encode(input, { truncate = { to = how.max_length, side = how.direction:lower(), stride = how.stride, windows = true } })
  if cut.size ~= #case.cut then return ("%d windows, expected %d"):format(cut.size, #case.cut) end
  for i = 1, cut.size do
    if not same(cut:row(i).ids, case.cut[i]) then return ("window %d %s, expected %s"):format(i, list(cut:row(i).ids), list(case.cut[i])) end
  end
end

local good, bad, refused = 0, 0, 0
for line in io.lines(folder .. "/answers.jsonl") do
  local row = core.json(line)
  local ok, tokenizer = pcall(pl.tokenizer, folder .. "/" .. row.folder .. "/tokenizer.json")
  if row.error or not ok then
    refused = refused + 1
    if not row.error then print(row.folder .. " does not load: " .. tostring(tokenizer)) end
  end
  for _, case in ipairs(ok and not row.error and row.cases or {}) do
    local fine, problem = pcall(problem_of, tokenizer, row, case)
    if case.error then
      refused = refused + 1
      if fine and not problem then print(row.folder .. " is taken, published: " .. case.error) end
    elseif fine and not problem then
      good = good + 1
    else
      bad = bad + 1
      print(("%s %q%s: %s"):format(row.folder, case.text, case.pair and (" + %q"):format(case.pair) or "", (tostring(problem):gsub("\n", " | "))))
    end
  end
end
print(("%d equal, %d differ, %d refused"):format(good, bad, refused))
if bad > 0 then os.exit(1) end
