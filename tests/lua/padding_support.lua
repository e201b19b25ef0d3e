--- For the specs of padding: models with a planted NaN, rows for them, and one test for each model and head.
--- The models are copies whose embedding of id 0 is NaN (planted.lua), and 0 is what padding is filled
--- with: arithmetic on a single cell of padding would show. A policy's filler rows are of id 0, too.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local planted = require "planted"
local folder_of = require "folder_of"

local padding = {}

pl.on_warning(function() end)   -- two ids 0 in a row look like two beginnings of text to BART
local root = "tests/golden/"
padding.lengths = { 1, 2, 5, 16, 33, 8, 31 }

-- A generator of our own: the same rows on every machine and run.
local state = 4711
local function random(n)
  state = (state * 16807) % 2147483647
  return state % n
end

-- Rows without id 0. They end in 2, which BART's classifier reads.
function padding.random_rows(m, counts)
  local rows = {}
  for i, length in ipairs(counts) do
    rows[i] = {}
    for j = 1, length - 1 do rows[i][j] = 5 + random(math.min(m.vocab_size, 380) - 5) end
    rows[i][length] = 2
  end
  return rows
end

function padding.random_types(m, rows)
  if (m.config.type_vocab_size or 0) < 2 then return nil end
  local types = {}
  for i, row in ipairs(rows) do
    types[i] = {}
    for j = 1, #row do types[i][j] = random(2) end
  end
  return types
end

function padding.nans(length)
  local row = {}
  for i = 1, length do row[i] = 0 end
  return row
end

-- Without the logits of id 0 where the head is the embedding itself, whose row of id 0 is NaN.
function padding.cut(m, name, x)
  if name == "logits" and m.head == "seq2seq" and planted.always_tied[m.family] then return x:at { vocab = { 1, m.vocab_size - 1 } } end
  return x
end

function padding.lengths_of(rows)
  local list = {}
  for i, row in ipairs(rows) do list[i] = #row end
  return list
end

-- NaN in the cells that the next runs get: the plans' own memory, and pages of keys and values.
function padding.poison(m, encoder)
  for _ = 1, 2 do
    local out = m:forward({ padding.nans(40), padding.nans(31), padding.nans(9), padding.nans(33) }, { rows = "all", decoder = encoder and padding.nans(37) or nil })
    for _, name in ipairs { "logits", "last_hidden_state", "start_logits" } do
      if out[name] then t.ok(out[name]:has_nan(), "the planted NaN is dead") end
    end
  end
  collectgarbage()
  collectgarbage()
end

-- What it would have cost: rows that are filled up, computed and dropped.
local function padded_policy(queue, room)
  local plan = pl.policy.fifo().plan(queue, room)
  plan.layout = "padded"
  return plan
end
local function one_at_a_time(queue, room)
  local plan = pl.policy.fifo().plan(queue, room)
  return { plan[1] }
end
padding.policies = { { "fifo", nil }, { "padded", padded_policy }, { "one at a time", one_at_a_time } }

-- Every model with every head of its family. Folders are made when a test first needs
-- one: kept for the tests of one model.
local made = {}
local function load(name, head, clean)
  if made.name ~= name then
    folder_of.remove_all()
    made = { name = name }
  end
  local key = clean and "clean" or "nan"
  if not made[key] then made[key] = planted.folder(root .. name, not clean) end
  return pl.load(made[key], { head = head, compute = os.getenv "PERILUNE_INVARIANCE_COMPUTE" or "f32" })
end

local function test(name, head, what, run, clean)
  t.test(("%s, %s: %s"):format(name, head, what), function()
    local m = load(name, head, clean)
    t.equal(m.head, head)
    local done, err = pcall(run, m)
    m:close()
    if not done then error(err, 0) end
  end)
end

-- A model of every family, and those whose passes differ in more than the head.
local models = { "bart-plain", "bert-sequence", "distilbert-question", "gemma2-softcap", "gpt2-plain", "gpt_neox-parallel",
  "llama-gqa", "llama-rope3-bf16", "mistral-window", "phi-partial-rotary", "phi3-fused-qkv", "qwen2-bias", "qwen3-qknorm",
  "roberta-sequence", "t5-gated-untied" }

--- Calls `tests(test, model, head)` for every model and head of its family, where test(what, run, clean) adds
--- one that gets the model. model: { name=, family=, encoder=, tied= (its head is the embedding itself) }
---@param tests fun(test: function, model: table, head: string)
function padding.each_model(tests)
  local seen = {}
  for _, name in ipairs(models) do
    local family = require "perilune.loaded.family".choose(core.read_json(root .. name .. "/config.json"))
    local heads = {}
    for head in pairs(family.heads) do heads[#heads + 1] = head end
    table.sort(heads)
    seen[family.name] = true
    for _, head in ipairs(heads) do
      local model = { name = name, family = family, encoder = family.encode and family.decode,
        tied = head == "seq2seq" and planted.always_tied[family.name] }
      tests(function(what, run, clean) test(name, head, what, run, clean) end, model, head)
    end
  end
  -- Those that read pictures or sound have specs of their own.
  for _, name in ipairs { "clip", "clip_image", "siglip", "siglip_image", "vit", "whisper" } do seen[name] = true end
  t.test("every family is in the table", function()
    for _, name in ipairs(require "perilune.models") do t.ok(seen[name], "no model of " .. name .. " in " .. root) end
  end)
  t.test("folders are removed", function() folder_of.remove_all() end)
end

return padding
