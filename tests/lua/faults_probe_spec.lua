-- The probe on models that were trained a little: a masked one, the same without its head, an
-- encoder-decoder (tests/faults/trained, made by tests/faults/preflight_models.py).
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local t = require "spec"

pl.on_warning(nil)

local trained = "tests/faults/trained/"

-- A folder with its ordinary pieces moved on by some ids.
local function moved(folder, by)
  local json = core.read_json(folder .. "/tokenizer.json")
  local vocab, kept = json.model.vocab, #json.added_tokens
  if vocab[1] then   -- Unigram: a list
    local list = {}
    for i = kept + 1, #vocab do list[(i - kept - 1 + by) % (#vocab - kept) + kept + 1] = vocab[i] end
    for i = kept + 1, #vocab do vocab[i] = list[i] end
  else
    local size = 0
    for _ in pairs(vocab) do size = size + 1 end
    for piece, id in pairs(vocab) do
      if id >= kept then vocab[piece] = kept + (id - kept + by) % (size - kept) end
    end
  end
  return folder_of.copy(folder, { ["tokenizer.json"] = core.write_json(json), ["other.json"] = false })
end

-- A folder with another tokenizer of the same kind and size.
local function other(folder) return folder_of.copy(folder, { ["tokenizer.json"] = { from = folder .. "/other.json" }, ["other.json"] = false }) end

local models = {
  { name = "masked", folder = trained .. "masked" },
  { name = "an encoder", folder = trained .. "masked", head = "base" },
  { name = "an encoder-decoder", folder = trained .. "t5" },
}

local function verdict(folder, head)
  local m = pl.load(folder, { compute = "f32", head = head })
  local seen = pl.check(m, nil, { probe = true })
  m:close()
  return seen
end

for _, case in ipairs(models) do
  t.test(case.name .. ": its own tokenizer, and strangers of its size", function()
    local own = verdict(case.folder, case.head)
    t.equal({ own.ok, own.probe.verdict, own.warnings }, { true, "own", {} })
    for what, folder in pairs { other = other(case.folder), one = moved(case.folder, 1), ["300"] = moved(case.folder, 300) } do
      local seen = verdict(folder, case.head)
      t.equal({ seen.ok, seen.probe.verdict }, { false, "stranger" }, what)
      t.ok(table.concat(seen.errors, "\n"):find("belongs to another model", 1, true))
      t.ok(table.concat(seen.warnings, "\n"):find("probe: ", 1, true), "the signs are told")
    end
  end)
end

t.test("chance is drawn from ids close by, and counts half where it ties", function()
  local chance = require "perilune.loaded.probe_chance"
  local number = chance.numbers(1)
  for _, id in ipairs { 0, 3, 99, 1000, 1999 } do
    for _ = 1, 200 do
      local near = chance.near(id, 2000, number)
      t.ok(near ~= id and near >= 0 and near < 2000 and math.abs(near - id) <= math.max(8, 0.05 * id), id .. " → " .. near)
    end
  end
  t.equal(chance.above({ 1, 2 }, { 1, 2 }).auc, 0.5)
  t.equal(chance.above({ 5, 6 }, { 1, 2 }).auc, 1)
  t.equal(chance.above({}, { 1 }), { count = 0, auc = 0.5, z = 0 })
end)

t.test("remove the folders", folder_of.remove_all)
