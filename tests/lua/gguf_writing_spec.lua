-- Models written as GGUF files by perilune quantize: read back they are the same model.
local pl = require "perilune"
local core = require "perilune.core"
local commands = require "perilune.commands"
local folder_of = require "folder_of"
local t = require "spec"

local cpu = { device = "cpu", compute = "f32" }
local ids = { { 3, 4, 5, 6, 7 } }

-- Runs the verb; what it printed.
local function quantize(...)
  local printed, print_before = {}, print
  _G.print = function(...)
    local words = { ... }
    for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
    printed[#printed + 1] = table.concat(words, "\t")
  end
  local fine, status = pcall(commands.run, "quantize", { ... })
  _G.print = print_before
  if not fine then error(status, 0) end
  return status, table.concat(printed, "\n")
end

local function file() return folder_of.files {} .. "/out.gguf" end

local function same_ids(a, b)
  for _, text in ipairs { "Hello world", "It's 12345, don't!", "café 你好 😀", " two  spaces" } do t.equal(b:ids(text), a:ids(text), text) end
end

for _, name in ipairs { "llama-gqa", "llama-rope-linear", "llama-rope3-bf16", "mistral-window", "qwen2-bias", "qwen3-qknorm", "gemma2-softcap",
  "phi3-fused-qkv", "gpt2-plain", "bert-base", "t5-gated-untied", "t5-relu-tied" } do
  t.test(name .. " as GGUF is the model it was", function()
    local out = file()
    t.equal((quantize(t.golden(name), out, "--to", "f32")), 0)
    local a, b = pl.load(t.golden(name), cpu), pl.load(out, cpu)
    local x, y = a:forward(ids), b:forward(ids)
    local key = x.logits and "logits" or "last_hidden_state"
    t.ok(x[key]:close(y[key], 1e-5), ("off by %g"):format(x[key]:max_difference(y[key])))
    same_ids(a.tokenizer, b.tokenizer)
    t.equal(b.warnings, a.warnings)
  end)
end

t.test("types, patterns and what 32 does not divide", function()
  local out = file()
  local status, text = quantize("scripts/models/tales", out, "--to", "q4_k", "layers.0=q8_0", "embed_tokens=q6_k", "--json")
  t.equal(status, 0)
  local facts = core.json(text, "printed")
  t.equal(facts.types, { q4_k = 30, q8_0 = 6, q6_k = 1 })
  t.ok(facts.bytes < facts.bytes_before and facts.notes[1]:find "down_proj", text)
  local m = pl.load(out, cpu)
  local s = rawget(m, "state_")
  t.equal({ (s.checkpoint:storage "layers.1.self_attn.q_proj"), (s.checkpoint:storage "layers.0.mlp.up_proj"), (s.checkpoint:storage "embed_tokens") },
    { "Q4_K", "Q8_0", "Q6_K" })
  local same = pl.load("scripts/models/tales", t.with(cpu, { quantize = { ["layers.1.self_attn.q_proj"] = "q4_k" } }))
  t.ok(m:weight "layers.1.self_attn.q_proj":equal(same:weight "layers.1.self_attn.q_proj"))
  t.ok(m:generate("Once upon a time", { max_new_tokens = 4, do_sample = false }).text:find "%a")
end)

t.test("general.file_type is what most of the layers' weights are stored as", function()
  for _, case in ipairs { { 0, "f32" }, { 1, "f16" }, { 32, "bf16" }, { 14, "q4_k" }, { 7, "q8_0", "embed_tokens=q4_0" },
    { 8, "q4_1", "layers.*.mlp.*=q5_0" } } do
    local out = file()
    t.equal((quantize("scripts/models/tales", out, "--to", unpack(case, 2))), 0)
    t.equal(core.gguf_head(out).values["general.file_type"], case[1], case[2])
  end
end)

t.test("a GGUF file quantizes to another with its keys", function()
  local first, second = file(), file()
  t.equal((quantize("scripts/models/tales", first, "--to", "q8_0")), 0)
  t.equal((quantize(first, second, "--to", "q4_0")), 0)
  local a, b = core.gguf_head(first), core.gguf_head(second)
  t.equal({ a.values["general.file_type"], b.values["general.file_type"] }, { 7, 2 })
  b.values["general.file_type"] = 7
  t.equal(b.values, a.values)
  t.equal(b.counts, a.counts)
  local m, n = pl.load(first, cpu), pl.load(second, cpu)
  same_ids(m.tokenizer, n.tokenizer)
  t.ok(n:memory().weights < m:memory().weights)
  t.ok(n:weight "layers.0.self_attn.q_proj":close(m:weight "layers.0.self_attn.q_proj", 0.15))
  t.raises_table(function() quantize(first, folder_of.files {} .. "/folder", "--to", "int4") end, "GGUF", ".gguf")
end)

t.test("the verb writes folders, takes recipes, and refuses what it must", function()
  local folder = folder_of.files { ["recipe.lua"] = 'return { ["layers.*.mlp.*"] = { type = "int4", group = 32 }, lm_head = "int8" }' }
  local out = folder .. "/small"
  local status, text = quantize("scripts/models/tales", out, "--recipe", folder .. "/recipe.lua", "layers.0.mlp.up_proj=nf4")
  t.equal(status, 0)
  t.ok(text:find "17 as int4_32" and text:find "1 as nf4" and text:find "1 as int8_row", text)
  local m = pl.load(out, cpu)
  t.equal(m.quantization.lm_head, "int8")
  t.equal((quantize("scripts/models/tales", out, "--to", "int8")), 1, "what is there stays")
  t.equal((quantize("scripts/models/tales", out, "--to", "int8", "--force")), 0)
  t.equal(pl.load(out, cpu).quantization, { type = "int8" })
  t.equal((quantize("scripts/models/tales", out)), 2)
  t.equal((quantize("scripts/models/tales")), 2)
  for _, case in ipairs { { "--to", "q5_k_m" }, { "layers.0" }, { "--to", "int4", "--group", "48" }, { "layers.77=int8" } } do
    t.equal((quantize("scripts/models/tales", out .. "2", unpack(case))), 2, table.concat(case, " "))
  end
  t.ok(not core.folder_exists(out .. "2"))
  for _, case in ipairs { { t.golden "bert-sequence", "classifier" }, { t.golden "gpt_neox-parallel", "gpt_neox" }, { t.golden "llama-gqa", "nf4" } } do
    local gguf = folder .. "/no.gguf"
    t.raises_table(function() quantize(case[1], gguf, "--to", case[2] == "nf4" and "nf4" or "q8_0") end, case[2]:upper() == "NF4" and "NF4" or case[2])
    t.ok(not core.file_exists(gguf))
  end
end)
