-- Holds what the published implementation generated (ask_generation.py) against ours: perilune compare_generation.lua FOLDER [NAME]
local pl = require "perilune"
local core = require "perilune.core"
pl.on_warning(nil)
local folder, only = arg[1], arg[2]
local draws, counts = 1024, { same = 0, refused = 0, both = 0, ["only there"] = 0, ["only here"] = 0, OTHER = 0 }

-- The published answers are filled up behind an end.
local function cut(ids, ends)
  local is_end, out = {}, {}
  for _, id in ipairs(type(ends) == "table" and ends or { ends }) do is_end[id] = true end
  for _, id in ipairs(ids) do
    out[#out + 1] = id
    if is_end[id] then break end
  end
  return out
end

local function text(ids) return "[" .. table.concat(ids, " ") .. "]" end

local function compare_answers(m, case)
  local r = m:generate({ ids = case.ids })
  local ours = r.sequences or { r }
  for i = #case.answers, 1, -1 do   -- places of beams that never ran
    if case.answers[i][1] == -1 then table.remove(case.answers, i) end
  end
  if #ours ~= #case.answers then return ("%d answers instead of %d"):format(#ours, #case.answers) end
  for i, theirs in ipairs(case.answers) do
    local own, want = text(cut(ours[i].ids, case.eos)), text(cut(theirs, case.eos))
    if own ~= want then return ("answer %d is %s, theirs is %s"):format(i, own, want) end
  end
end

-- Many first tokens: none that has no chance there, and each about as often as it should be.
local function compare_chances(m, case)
  local times, total = {}, 0
  for seed = 1, 4 do
    local r = m:generate({ ids = case.ids }, { n = draws, seed = seed })
    for _, one in ipairs(r.sequences) do
      times[one.ids[1]] = (times[one.ids[1]] or 0) + 1
      total = total + 1
    end
  end
  local apart, most = 0, 0
  for id in pairs(times) do
    if not case.chances[tostring(id)] then return ("drew %d, which has no chance there"):format(id) end
  end
  for id, chance in pairs(case.chances) do
    local share = (times[tonumber(id)] or 0) / total
    apart = apart + math.abs(share - chance) / 2
    most = most + math.sqrt(chance * (1 - chance) / total)
  end
  if apart > 0.01 + most then return ("chances are %.3f apart, at most %.3f are luck"):format(apart, most) end
end

for _, case in ipairs(core.json(core.read_file(folder .. "/cases.json"))) do
  if not only or case.name:find(only, 1, true) then
    local word, more
    local m, err = pl.try(pl.load, folder .. "/" .. case.name, { compute = "f32", tokenizer = false, threads = 1 })
    if m then
      local ran, wrong = pcall(case.chances and compare_chances or compare_answers, m, case.refused and { ids = case.ids, answers = {} } or case)
      if not ran then err = wrong elseif case.refused then word, more = "only here", case.refused else word, more = wrong and "OTHER" or "same", wrong end
      m:close()
    end
    if not word then word, more = case.refused and "both" or "only there", tostring(err):sub(1, 300) end
    counts[word] = counts[word] + 1
    if word ~= "same" and word ~= "both" then print(word, case.name, more, core.json_text and core.json_text(case.settings) or "") end
  end
end
for word, count in pairs(counts) do if count > 0 then print(count, word) end end
