-- Spellings of a config that mean the same give the same bits; where config and weights disagree, or
-- a value would change the mathematics, loading says so.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

-- A copy of a golden folder with some lines of config.json changed: fn(json text) gives the new text.
local function with(name, fn, use)
  local golden, folder = t.golden(name), os.tmpname()
  os.remove(folder)
  assert(os.execute(("cp -r '%s' '%s' && chmod -R u+w '%s'"):format(golden, folder, folder)))
  local done, err = pcall(function()
    core.write_file(folder .. "/config.json", fn(core.read_file(golden .. "/config.json")))
    use(folder)
  end)
  os.execute(("rm -r '%s'"):format(folder))
  if not done then error(err, 0) end
end

-- Sets keys: an existing line is replaced, a new one added; values are JSON text, false takes a key out.
local function set(changes)
  return function(text)
    local added = {}
    for key, value in pairs(changes) do
      text = text:gsub('"' .. key .. '":%s*%b{},?', ""):gsub('"' .. key .. '":%s*[^,{%[\n}]+,?', "")
      if value then added[#added + 1] = ('"%s": %s,'):format(key, value) end
    end
    text = text:gsub("^%s*{", function(brace) return brace .. table.concat(added) end, 1)
    return (text:gsub(",(%s*})", "%1"))
  end
end

local function answer(folder)
  local m = pl.load(folder, { compute = "f32" })
  local ids = {}
  for i = 1, 70 do ids[i] = (i * 37) % 300 + 3 end
  local out = m:forward({ ids, { 5, 6, 7 } }, { rows = "all" })
  local warnings = m.warnings
  m:close()
  return out.logits or out.last_hidden_state, warnings
end

local same = {
  { "llama-gqa", "a linear rope, old and new", { rope_parameters = '{"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}' },
    { rope_parameters = false, rope_theta = "5000", rope_scaling = '{"type": "linear", "factor": 4}' } },
  { "llama-gqa", "an old spelling beside a new one wins", { rope_parameters = '{"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}' },
    { rope_parameters = '{"rope_type": "linear", "factor": 2.0}', rope_scaling = '{"rope_type": "linear", "factor": 4.0}' } },
  { "llama-gqa", "no rope at all is the default", {}, { rope_parameters = false } },
  { "llama-gqa", "an empty rope_scaling says nothing", {}, { rope_scaling = "{}" } },
  { "llama-gqa", "yarn without a factor takes it from the lengths",
    { rope_parameters = '{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}' },
    { rope_parameters = false, rope_scaling = '{"type": "yarn", "factor": null, "original_max_position_embeddings": 64}' } },
  { "llama-rope3-bf16", "the original length outside of the rope's parameters",
    {}, { rope_parameters = '{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 500000.0}',
      original_max_position_embeddings = "64" } },
  { "llama-gqa", "names of one activation", { hidden_act = '"gelu_new"' }, { hidden_act = '"gelu_accurate"' } },
  { "llama-gqa", "dropout and training change nothing", {}, { attention_dropout = "0.7", pretraining_tp = "2", use_cache = "false" } },
  { "gpt2-plain", "n_inner is four times n_embd unless said", {}, { n_inner = "240" } },
}
for _, case in ipairs(same) do
  t.test("the same bits: " .. case[2], function()
    local first
    with(case[1], set(case[3]), function(folder) first = answer(folder):tolist() end)
    with(case[1], set(case[4]), function(folder) t.equal(answer(folder):tolist(), first) end)
  end)
end

t.test("a rope that differs gives other bits", function()
  local first
  with("llama-gqa", set {}, function(folder) first = answer(folder):tolist() end)
  with("llama-gqa", set { rope_parameters = '{"rope_type": "linear", "factor": 4.0}' }, function(folder)
    t.ok(answer(folder):tolist()[2][1] ~= first[2][1])
  end)
end)

t.test("a stored head is used even where the config says tied", function()
  local first
  with("llama-gqa", set {}, function(folder) first = answer(folder):tolist() end)
  with("llama-gqa", set { tie_word_embeddings = "true" }, function(folder) t.equal(answer(folder):tolist(), first) end)
end)

t.test("what only another rope type reads is a warning", function()
  with("llama-gqa", set { rope_parameters = '{"rope_type": "linear", "factor": 4.0, "beta_fast": 32.0}' }, function(folder)
    local _, warnings = answer(folder)
    local text = table.concat(warnings, "\n")
    t.ok(text:find("linear", 1, true) and text:find("beta_fast", 1, true), text)
  end)
end)

local refused = {
  { "llama-rope3-bf16", { tie_word_embeddings = "false" }, "lm_head.weight" },
  { "llama-gqa", { attention_bias = "true" }, "q_proj.bias" },
  { "llama-gqa", { partial_rotary_factor = "0.5" }, "partial_rotary_factor" },
  { "llama-gqa", { is_causal = "false" }, "is_causal" },
  { "llama-gqa", { rope_parameters = '{"rope_type": "dynamic", "factor": 1.0, "alpha": 1000}' }, "alpha" },
  { "gpt2-plain", { is_causal = "false" }, "is_causal" },
  { "gpt2-plain", { n_positions = "4096" }, "n_positions 4096", "wpe" },
  { "bert-sequence", { type_vocab_size = "3" }, "type_vocab_size 3", "token_type_embeddings" },
  { "bert-sequence", { max_position_embeddings = "64" }, "max_position_embeddings 64", "position_embeddings" },
  { "t5-gated-untied", { dense_act_fn = '"silu"' }, "dense_act_fn", "gelu_new" },
  { "t5-gated-untied", { is_gated_act = "false" }, "is_gated_act" },
  { "t5-gated-untied", { num_decoder_layers = "4" }, "decoder.block.3" },
  { "t5-gated-untied", { num_decoder_layers = "2" }, "no pass" },
}
for _, case in ipairs(refused) do
  t.test("refused: " .. case[1] .. ", " .. next(case[2]), function()
    with(case[1], set(case[2]), function(folder)
      t.raises_text(function() pl.load(folder, { tokenizer = false }) end, unpack(case, 3))
    end)
  end)
end
