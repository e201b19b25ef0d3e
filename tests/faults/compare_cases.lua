-- Holds what the published implementation answered (ask_*.py) against ours: perilune compare_cases.lua FOLDER
local pl = require "perilune"
local core = require "perilune.core"
pl.on_warning(nil)
local folder, only = arg[1], arg[2]
local counts = { same = 0, refused = 0, both = 0, ["only there"] = 0, ["only here"] = 0, OTHER = 0 }

local function worst(ours, theirs)
  local most, scale = #ours == #theirs and 0 or math.huge, 1e-3
  for i = 1, math.min(#ours, #theirs) do
    scale = math.max(scale, math.abs(theirs[i]))
    local d = math.abs(ours[i] - theirs[i])
    most = d == d and math.max(most, d) or math.huge
  end
  return most / scale
end

for _, case in ipairs(core.json(core.read_file(folder .. "/cases.json"))) do
  if not only or case.name:find(only, 1, true) then
    local m, err = pl.try(pl.load, folder .. "/" .. (case.path or case.name), { compute = "f32", tokenizer = false, threads = 1, head = case.head })
    local word, more
    if m then
      local r
      r, err = pl.try(m.forward, m, { case.ids }, { rows = "all", decoder = case.decoder and { case.decoder } or nil })
      if r then
        local logits = (r.logits or r.last_hidden_state):to "f32":tolist()
        local row = logits[#logits]
        if type(row) ~= "table" then row = logits end
        if case.logits then
          local off = worst(row, case.logits)
          word = off < 2e-3 and "same" or "OTHER"
          more = ("differs by %.2g; warnings: %s"):format(off, table.concat(m.warnings, " | "))
        else
          word, more = "only here", case.refused
        end
      end
      m:close()
    end
    if not word then
      word = case.logits and "only there" or "both"
      more = tostring(err):sub(1, 260)
    end
    counts[word] = counts[word] + 1
    if word ~= "same" and word ~= "both" then print(word, case.name, more) end
  end
end
for word, count in pairs(counts) do print(count, word) end
