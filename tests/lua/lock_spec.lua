-- Fingerprint and lock: equal where nothing changed, and the changed part is named where something did.
local pl = require "perilune"
local core = require "perilune.core"
local lock = require "perilune.program.lock"
local folder_of = require "folder_of"
local t = require "spec"

local golden = t.golden "llama-gqa"

local function load(path) return pl.load(path, { compute = "f32" }) end

t.test("a fingerprint says what a model is, not where it lies or how it runs", function()
  local m, copy = load(golden), load(folder_of.copy(golden))
  t.equal(copy:fingerprint(), m:fingerprint())
  t.ok(m:fingerprint():find "^llama%-causal%-%x+$")
  core.set_threads(1)
  t.equal(load(golden):fingerprint(), m:fingerprint(), "one thread")
  core.set_threads(2)
  t.equal(pl.load(golden, { compute = "bf16" }):fingerprint(), m:fingerprint(), "another compute mode")
  local parts = m:fingerprint { parts = true }
  for _, part in ipairs { "weights", "config", "tokenizer" } do t.ok(parts[part]:find "^%x+$", part) end
  t.equal({ parts.generation, parts.template }, { "none", "none" })
  t.raises_text(function() m:fingerprint { part = true } end, "part", "parts")
end)

-- What a change of one file does: the part that differs, and what check says of it.
local function flipped_weight()
  local bytes = core.read_file(golden .. "/model.safetensors")
  return bytes:sub(1, -3) .. string.char((bytes:byte(-2) + 1) % 256) .. bytes:sub(-1)
end

local changes = {
  { "one bit of the weights", "weights", { ["model.safetensors"] = flipped_weight() }, "weights: other values" },
  { "a setting", "config", { ["config.json"] = folder_of.changed(golden .. "/config.json", '"rope_theta": 10000.0', '"rope_theta": 20000.0') },
    "config.json: rope_parameters" },
  { "a default of generation", "generation", { ["generation_config.json"] = '{"temperature": 0.5}' }, "generation_config.json: temperature" },
  { "add_bos_token", "tokenizer",
    { ["tokenizer_config.json"] = folder_of.changed(golden .. "/tokenizer_config.json", '"add_bos_token": true', '"add_bos_token": false') },
    "tokenizer behaviour: what is put in" },
  { "add_eos_token", "tokenizer",
    { ["tokenizer_config.json"] = folder_of.changed(golden .. "/tokenizer_config.json", '"add_eos_token": false', '"add_eos_token": true') },
    "tokenizer behaviour: what is put in" },
  { "legacy spaces", "tokenizer",
    { ["tokenizer_config.json"] = folder_of.changed(golden .. "/tokenizer_config.json", '"legacy": false', '"legacy": true') },
    "tokenizer behaviour" },
  { "a role", "tokenizer",
    { ["tokenizer_config.json"] = folder_of.changed(golden .. "/tokenizer_config.json", '"unk_token"', '"pad_token": "</s>", "unk_token"') },
    "tokenizer behaviour: pad was none, is 2" },
  { "the order of the pieces", "tokenizer", { ["tokenizer.model"] = folder_of.shuffled_pieces(core.read_file(golden .. "/tokenizer.model")) },
    "tokenizer behaviour: \"Hello world" },
  { "the chat template", "template",
    { ["tokenizer_config.json"] = folder_of.changed(golden .. "/tokenizer_config.json", "{", '{"chat_template": "{{ messages }}",') },
    "chat template: its source changed" },
}

for _, change in ipairs(changes) do
  local what, part, files, said = unpack(change)
  t.test("a changed file is seen: " .. what, function()
    local before, m = load(golden), load(folder_of.copy(golden, files))
    t.ok(m:fingerprint() ~= before:fingerprint())
    local old, new = before:fingerprint { parts = true }, m:fingerprint { parts = true }
    for name in pairs(old) do t.equal(old[name] ~= new[name], name == part, "part " .. name) end
    local found = lock.compare(lock.of(before), m)
    t.ok(#found > 0)
    local all = table.concat(found, "\n")
    t.ok(all:find(said, 1, true), all)
    for _, other in ipairs { "weights:", "config.json:", "tokenizer behaviour:", "chat template:" } do
      t.equal(("\n" .. all):find("\n" .. other, 1, true) ~= nil, (said .. ":"):sub(1, #other) == other, other .. " in " .. all)
    end
  end)
end

t.test("notes of names and versions are no change", function()
  local config = folder_of.changed(golden .. "/config.json", '"transformers_version": "5.23.0"', '"transformers_version": "9.9", "_name_or_path": "x"')
  t.equal(load(folder_of.copy(golden, { ["config.json"] = config })):fingerprint(), load(golden):fingerprint())
end)

t.test("a lock written and read compares equal, for every kind of answer", function()
  for _, name in ipairs { "llama-gqa", "bert-sequence", "t5-gated-untied", "distilbert-question", "gpt2-plain" } do
    local folder = folder_of.copy(t.golden(name))
    local path = folder .. "/" .. lock.name
    lock.write(load(folder), path)
    t.equal(lock.compare(lock.read(path), load(folder)), {}, name)
  end
end)

t.test("the probe's answer is compared by itself", function()
  local m = load(golden)
  local before = lock.of(m)
  before.probe.ids[2] = before.probe.ids[2] + 1
  before.probe.margins[2] = 1
  t.ok(lock.compare(before, m)[1]:find("the probe's answer: it continued", 1, true))
  before.probe.margins[2] = 0.001   -- as close as that, another machine may choose otherwise
  t.equal(lock.compare(before, m), {})
  before = lock.of(m)
  before.probe.values.logits[1] = before.probe.values.logits[1] + 1
  t.ok(lock.compare(before, m)[1]:find("logits differ by up to 1", 1, true))
end)

t.test("a damaged lock is a clear error", function()
  local folder = folder_of.copy(golden, { ["perilune.lock"] = '{"perilune_lock": 99, "parts": {}}', ["other.json"] = "[1]" })
  t.raises_text(function() lock.read(folder .. "/perilune.lock") end, "version 99", "perilune lock")
  t.raises_text(function() lock.read(folder .. "/other.json") end, "is not a lock")
  t.raises_text(function() lock.read(folder .. "/missing") end, "missing")
  t.raises_text(function() lock.write(load(golden), "/proc/nowhere/x") end, "lock", "/proc/nowhere/x")
end)

t.test("remove the folders", folder_of.remove_all)
