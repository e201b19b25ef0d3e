-- The doctor on models broken for the test: each illness is found, a healthy model is left in peace.
local pl = require "perilune"
local core = require "perilune.core"
local doctor = require "perilune.program.doctor"
local t = require "spec"

local function found(m, symptom)
  for _, finding in ipairs(doctor.examine(m)) do
    if finding.level ~= "ok" and finding.symptom:find(symptom, 1, true) then return finding end
  end
end

-- A copy of a model's folder, with one of its JSON files changed.
local function broken(from, file, change)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("cp -r '%s' '%s' && chmod -R u+w '%s'"):format(from, folder, folder)) == 0)
  if file then
    local json = core.file_exists(folder .. "/" .. file) and core.read_json(folder .. "/" .. file) or {}
    change(json, folder)
    core.write_file(folder .. "/" .. file, core.write_json(json))
  end
  return folder
end

t.test("a healthy model", function()
  for _, finding in ipairs(doctor.examine(pl.load "scripts/models/reviews")) do
    t.ok(finding.level ~= "problem" or finding.symptom == "slow", finding.symptom .. ": " .. tostring(finding.means))
  end
end)

t.test("a stranger's tokenizer", function()
  local folder = broken("scripts/models/reviews")
  local words = {}
  for line in io.lines(folder .. "/vocab.txt") do words[#words + 1] = line end
  local random = 7
  for i = #words, 200, -1 do   -- the special tokens and letters stay
    random = (random * 1103515245 + 12345) % 2147483648
    local j = 200 + random % (i - 199)
    words[i], words[j] = words[j], words[i]
  end
  core.write_file(folder .. "/vocab.txt", table.concat(words, "\n") .. "\n")
  os.remove(folder .. "/tokenizer.json")
  local finding = found(pl.load(folder), "the same answer")
  t.ok(finding and finding.level == "problem" and finding.todo)
  os.execute(("rm -r '%s'"):format(folder))
end)

t.test("repetition", function()
  local m = pl.load "tests/golden/gpt2-plain"
  local seen = {}
  doctor.repetition({ head = "causal", tokenizer = m.tokenizer, max_tokens = 200,
    generate = function() return { ids = { 5, 6, 7, 8, 9, 8, 9, 8, 9, 8, 9, 8, 9, 8, 9, 8, 9 } } end }, seen)
  t.equal(seen[1].level, "problem")
  t.ok(seen[1].todo:find "no_repeat_ngram_size")
end)

t.test("cut texts", function()
  local folder = broken("scripts/models/tales", "generation_config.json", function(json) json.max_new_tokens = 8 end)
  local finding = found(pl.load(folder), "cut off")
  t.ok(finding and finding.means:find "8 tokens" and finding.todo:find "max_new_tokens")
  os.execute(("rm -r '%s'"):format(folder))
end)

t.test("a missing pad token, and threads left unused", function()
  local m = pl.load("tests/golden/gpt2-plain", { threads = 1 })
  if not m.tokenizer.specials.pad then t.ok(found(m, "padding").means:find "pad token") end
  if core.available_threads() > 1 then t.ok(found(m, "slow").means:find "threads") end
end)
