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
      text = text:gsub('"' .. key .. '":%s*%b{},?', ""):gsub('"' .. key .. '":%s*%b[],?', ""):gsub('"' .. key .. '":%s*[^,{%[\n}]+,?', "")
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
  return out.logits or out.start_logits or out.last_hidden_state, warnings
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
  { "gpt2-plain", "GPT-2's sizes by their common names", {},
    { n_embd = false, n_layer = false, n_head = false, hidden_size = "60", num_hidden_layers = "3", num_attention_heads = "4" } },
  { "mistral-window", "a window for every layer, one by one", {},
    { layer_types = '["sliding_attention", "sliding_attention", "sliding_attention"]' } },
  { "mistral-window", "Mistral's head_dim is hidden / heads unless said", {}, { head_dim = false } },
  { "mistral-window", "no window, said twice", { sliding_window = "null" },
    { sliding_window = "null", layer_types = '["full_attention", "full_attention", "full_attention"]' } },
  { "mistral-window", "Mistral without a word about windows has 4096", { sliding_window = "4096" }, { sliding_window = false } },
  { "qwen2-bias", "windows from a layer on, and layer by layer",
    { layer_types = false, use_sliding_window = "true", sliding_window = "8", max_window_layers = "1" },
    { layer_types = '["full_attention", "sliding_attention", "sliding_attention"]', use_sliding_window = "true", sliding_window = "8" } },
  { "qwen2-bias", "windows that are off say nothing", {}, { layer_types = false, sliding_window = "8", max_window_layers = "0" } },
  { "qwen2-bias", "windows from a layer on that is not there", {},
    { layer_types = false, use_sliding_window = "true", sliding_window = "8", max_window_layers = false } },
  { "qwen3-qknorm", "Qwen3's windows", { layer_types = false, use_sliding_window = "true", sliding_window = "8", max_window_layers = "1" },
    { layer_types = '["full_attention", "sliding_attention"]', use_sliding_window = "true", sliding_window = "8", max_window_layers = "0" } },
  { "phi-partial-rotary", "half of a head turns unless said", {}, { rope_parameters = false } },
  { "phi-partial-rotary", "the part of a head that turns, inside and beside the rope's parameters", {},
    { rope_parameters = '{"rope_type": "default", "rope_theta": 10000.0}', partial_rotary_factor = "0.5" } },
  { "phi3-fused-qkv", "names of longrope",
    { original_max_position_embeddings = "32", rope_parameters = '{"rope_type": "longrope", "short_factor": [1,1,1,2,2,2], "long_factor": [2,3,4,5,6,7]}' },
    { original_max_position_embeddings = "32", rope_parameters = false,
      rope_scaling = '{"type": "su", "short_factor": [1,1,1,2,2,2], "long_factor": [2,3,4,5,6,7]}' } },
  { "phi3-fused-qkv", "an old name of longrope",
    { original_max_position_embeddings = "32", rope_parameters = '{"rope_type": "longrope", "short_factor": [1,1,1,2,2,2], "long_factor": [2,3,4,5,6,7]}' },
    { original_max_position_embeddings = "32", rope_parameters = false,
      rope_scaling = '{"type": "yarn", "short_factor": [1,1,1,2,2,2], "long_factor": [2,3,4,5,6,7]}' } },
  { "phi3-fused-qkv", "the original length beside the rope's parameters wins",
    { original_max_position_embeddings = "32", rope_parameters = '{"rope_type": "longrope", "short_factor": [1,1,1,2,2,2], "long_factor": [2,3,4,5,6,7]}' },
    { original_max_position_embeddings = "32",
      rope_parameters = '{"rope_type": "longrope", "original_max_position_embeddings": 128, "short_factor": [1,1,1,2,2,2], "long_factor": [2,3,4,5,6,7]}' } },
  { "phi3-fused-qkv", "Phi-3's original length is 4096 unless said",
    { rope_parameters = '{"rope_type": "longrope", "short_factor": [1,1,1,2,2,2], "long_factor": [2,3,4,5,6,7]}' },
    { original_max_position_embeddings = false,
      rope_parameters = '{"rope_type": "longrope", "short_factor": [1,1,1,2,2,2], "long_factor": [2,3,4,5,6,7]}' } },
  { "phi3-fused-qkv", "Phi-3's epsilon is 1e-5 unless said", {}, { rms_norm_eps = false } },
  { "gemma2-softcap", "Gemma's caps are 50 and 30 unless said", {}, { attn_logit_softcapping = false, final_logit_softcapping = false } },
  { "gemma2-softcap", "every other layer of Gemma sees a window unless said", {}, { layer_types = false } },
  { "gemma2-softcap", "hidden_act is not Gemma's activation", {}, { hidden_act = '"relu"' } },
  { "gpt_neox-parallel", "a quarter of a head turns unless said", {}, { rope_parameters = false } },
  { "gpt_neox-parallel", "GPT-NeoX's old names", { rope_parameters = '{"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}' },
    { rope_parameters = false, rotary_pct = "0.5", rotary_emb_base = "500" } },
  { "gpt_neox-parallel", "the common names beside GPT-NeoX's own", { rope_parameters = false, rotary_pct = "0.5", rotary_emb_base = "500" },
    { rope_parameters = false, rotary_pct = "0.5", rotary_emb_base = "500", rope_theta = "9000", partial_rotary_factor = "0.25" } },
  { "roberta-sequence", "RoBERTa's padding id is 1 unless said", {}, { pad_token_id = false } },
  { "distilbert-question", "DistilBERT's sizes by their common names", {},
    { dim = false, n_layers = false, n_heads = false, hidden_size = "48", num_hidden_layers = "2", num_attention_heads = "4" } },
  { "bart-plain", "BART's sizes by their common names", {},
    { d_model = false, encoder_layers = false, encoder_attention_heads = false, hidden_size = "48", num_hidden_layers = "2", num_attention_heads = "4" } },
  { "mistral-window", "a window of 0 is none", { sliding_window = "null" }, { sliding_window = "0" } },
  { "mistral-window", "Mistral's code does not read layer_types", {},
    { layer_types = '["full_attention", "sliding_attention", "full_attention"]' } },
  { "phi3-fused-qkv", "nor does Phi-3's", { sliding_window = "8" },
    { sliding_window = "8", layer_types = '["sliding_attention", "full_attention"]' } },
  { "llama-gqa", "heads turn whole where the family has no share", {}, { rope_parameters = false, partial_rotary_factor = "0.5" } },
  { "llama-gqa", "GPT-NeoX's names mean nothing to Llama", {}, { rope_parameters = false, rotary_pct = "0.5", rotary_emb_base = "100" } },
  { "llama-gqa", "a linear rope with the factor 0", {}, { rope_parameters = '{"rope_type": "linear", "factor": 0, "rope_theta": 10000.0}' } },
  { "llama-gqa", "a proportional rope of whole heads is a linear one", { rope_parameters = '{"rope_type": "linear", "factor": 4.0}' },
    { rope_parameters = '{"rope_type": "proportional", "factor": 4.0}' } },
  { "llama-gqa", "keys that no rope reads", { rope_parameters = '{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}' },
    { rope_parameters = '{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "finetuned": true, "alpha": 3, "beta_fast": 0}' } },
  { "t5-gated-untied", "T5 without its own head is scaled alone", {}, { scale_decoder_outputs = "false", tie_word_embeddings = "true" } },
  { "t5-gated-untied", "T5's newer word for its activation", { feed_forward_proj = '"gated-silu"', dense_act_fn = false, is_gated_act = false },
    { dense_act_fn = '"silu"' } },
  { "bart-plain", "BART starts with 2 unless said", {}, { decoder_start_token_id = false, scale_embedding = false, tie_word_embeddings = false } },
}
for _, case in ipairs(same) do
  t.test("the same bits: " .. case[2], function()
    local first
    with(case[1], set(case[3]), function(folder) first = answer(folder):tolist() end)
    with(case[1], set(case[4]), function(folder) t.equal(answer(folder):tolist(), first) end)
  end)
end

-- Model, changes, the first logits behind `prompt` as transformers 5.24 gives them (torch 2.15, f32).
local prompt = { 5, 9, 7, 12, 3, 25, 8, 22, 31, 14, 26, 6 }
local published = {
  { "llama-gqa", { rope_parameters = '{"rope_type": "proportional", "factor": 4.0, "partial_rotary_factor": 0.5, "rope_theta": 10000.0}' },
    { -2.2296, -0.96958, 0.39877, -0.99491, -1.14117 } },
  { "llama-gqa", { rope_parameters = '{"rope_type": "proportional", "partial_rotary_factor": 0.3, "rope_theta": 500.0}' },
    { 2.51969, 0.14684, -0.59395, -0.87542, -1.63034 } },
  { "gpt_neox-parallel", { rope_parameters = '{"rope_type": "proportional", "factor": 4.0}' }, { -1.3309, 0.14662, -1.6615, 0.77806, 0.95774 } },
  { "gpt_neox-parallel", { rope_parameters = '{"rope_type": "default", "partial_rotary_factor": 0.1, "rope_theta": 10000.0}', rotary_pct = "0.1" },
    { -1.29116, -0.06199, -1.84508, 0.5954, 1.03012 } },
  { "gpt_neox-parallel", { rope_parameters = '{"rope_type": "default", "partial_rotary_factor": 0.34, "rope_theta": 10000.0}', rotary_pct = "0.34" },
    { -1.43091, 0.08546, -1.97934, 0.86862, 1.3101 } },
  { "llama-gqa", { hidden_act = '"relu2"' }, { 1.42788, 1.00004, -0.46528, 0.34175, -1.23026 } },
  { "llama-gqa", { hidden_act = '"mish"' }, { 2.62909, 0.09593, -0.73154, -0.58372, -1.67861 } },
  { "llama-gqa", { hidden_act = '"gelu_10"' }, { 2.56094, 0.07507, -0.85578, -0.72795, -1.71069 } },
  { "gpt2-plain", { activation_function = '"relu6"' }, { -0.04158, 0.18209, 0.89513, -0.7643, 1.4739 } },
  { "gpt2-plain", { activation_function = '"leaky_relu"' }, { -0.05468, 0.1647, 0.87641, -0.76071, 1.49779 } },
  { "llama-gqa", { hidden_act = '"hardswish"' }, { 2.31635, -0.11507, -0.63937, -0.78895, -1.58431 } },
  { "gpt2-plain", { activation_function = '"hardswish"' }, { -0.3281, -0.46641, 0.19301, -0.44295, 2.22577 } },
  { "llama-gqa", { hidden_act = '"sqrtsoftplus"' }, { 2.47159, 0.51761, -0.97215, 0.64267, -0.67026 } },
  { "gpt2-plain", { activation_function = '"sqrtsoftplus"' }, { 0.23388, 0.63287, 0.48283, -0.38663, 0.07567 } },
  { "gpt2-plain", { activation_function = '"laplace"' }, { -0.15517, 0.48847, 0.86436, -0.72545, 1.23179 } },
}
for _, case in ipairs(published) do
  local key, value = next(case[2])
  t.test(("as published: %s, %s = %s"):format(case[1], key, value), function()
    with(case[1], set(case[2]), function(folder)
      local m = pl.load(folder, { compute = "f32", tokenizer = false })
      local logits = m:forward({ prompt }, { rows = "last" }).logits:tolist()[1]
      for i, expected in ipairs(case[3]) do t.ok(math.abs(logits[i] - expected) < 2e-3, ("logit %d is %.5f"):format(i, logits[i])) end
      m:close()
    end)
  end)
end

t.test("a rope that differs gives other bits", function()
  local first
  with("llama-gqa", set {}, function(folder) first = answer(folder):tolist() end)
  with("llama-gqa", set { rope_parameters = '{"rope_type": "linear", "factor": 4.0}' }, function(folder)
    t.ok(answer(folder):tolist()[2][1] ~= first[2][1])
  end)
end)

-- Null is a choice where an absent key is the published default.
for _, case in ipairs {
  { "gemma2-softcap", "attn_logit_softcapping" }, { "gemma2-softcap", "final_logit_softcapping" }, { "mistral-window", "sliding_window" },
} do
  t.test("null and another value give other bits: " .. case[2], function()
    local first
    with(case[1], set { [case[2]] = "3" }, function(folder) first = answer(folder):tolist() end)
    with(case[1], set { [case[2]] = "null" }, function(folder)
      local last = answer(folder):tolist()
      t.ok(last[70][1] ~= first[70][1])
    end)
  end)
end

t.test("a null inside a text or another object is no null key", function()
  local first
  with("gemma2-softcap", set {}, function(folder) first = answer(folder):tolist() end)
  with("gemma2-softcap", set { attn_logit_softcapping = false, _name_or_path = [["\\\"attn_logit_softcapping\": null"]],
    task_specific_params = '{"attn_logit_softcapping": null}' }, function(folder) t.equal(answer(folder):tolist(), first) end)
end)

t.test("GPT-NeoX says that it passed over the common names", function()
  with("gpt_neox-parallel", set { rope_theta = "9000" }, function(folder)
    local _, warnings = answer(folder)
    t.ok(table.concat(warnings, "\n"):find("rope_theta", 1, true))
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
  { "llama-gqa", { rope_parameters = '{"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}' }, "partial_rotary_factor" },
  { "llama-gqa", { is_causal = "false" }, "is_causal" },
  { "gpt2-plain", { is_causal = "false" }, "is_causal" },
  { "gpt2-plain", { n_positions = "4096" }, "n_positions 4096", "wpe" },
  { "bert-sequence", { type_vocab_size = "3" }, "type_vocab_size 3", "token_type_embeddings" },
  { "bert-sequence", { max_position_embeddings = "64" }, "max_position_embeddings 64", "position_embeddings" },
  { "phi-partial-rotary", { rope_parameters = '{"rope_type": "proportional", "factor": 4.0, "partial_rotary_factor": 0.5}' }, "proportional", "share" },
  { "llama-gqa", { hidden_act = '"prelu"' }, "hidden_act", "prelu", "learned numbers" },
  { "gpt2-plain", { activation_function = '"xielu"' }, "activation_function", "learned numbers" },
  { "gpt2-plain", { activation_function = '"nosuch"' }, 'activation "nosuch" is not known' },
  { "t5-gated-untied", { num_decoder_layers = "4" }, "decoder.block.3" },
  { "t5-gated-untied", { num_decoder_layers = "2" }, "no pass" },
  { "mistral-window", { sliding_window = "-1" }, "sliding_window" },
  { "mistral-window", { layer_types = '["sliding_attention"]' }, "layer_types", "3 kinds" },
  { "mistral-window", { layer_types = '["chunked_attention", "full_attention", "full_attention"]' }, "chunked_attention" },
  { "mistral-window", { head_dim = "16" }, "q_proj" },
  { "mistral-window", { num_key_value_heads = false }, "k_proj" },
  { "qwen2-bias", { use_mrope = "true" }, "use_mrope = true" },
  { "qwen2-bias", { layer_types = '["full_attention", "full_attention", "sliding_attention"]' }, "use_sliding_window = false" },
  { "qwen3-qknorm", { attention_bias = "true" }, "q_proj.bias" },
  { "phi-partial-rotary", { qk_layernorm = "true" }, "q_layernorm" },
  { "phi-partial-rotary", { rope_parameters = '{"rope_type": "default", "partial_rotary_factor": 0.2}' }, "0.2" },
  { "phi3-fused-qkv", { rope_parameters = '{"rope_type": "linear", "factor": 2.0}' }, "rope type", "linear", "longrope" },
  { "phi3-fused-qkv", { rope_parameters = '{"rope_type": "longrope", "short_factor": [1, 1], "long_factor": [1, 1]}' }, "short_factor", "6 numbers" },
  { "phi3-fused-qkv", { attention_bias = "true" }, "attention_bias = true" },
  { "gemma2-softcap", { query_pre_attn_scalar = "0" }, "query_pre_attn_scalar" },
  { "gemma2-softcap", { attn_logit_softcapping = "0" }, "attn_logit_softcapping" },
  { "gemma2-softcap", { final_logit_softcapping = "-1" }, "final_logit_softcapping" },
  { "gemma2-softcap", { use_bidirectional_attention = "true" }, "use_bidirectional_attention = true" },
  { "gemma2-softcap", { tie_word_embeddings = "false" }, "lm_head.weight" },
  { "gpt_neox-parallel", { attention_bias = "false" }, "query_key_value.bias" },
  { "gpt_neox-parallel", { use_parallel_residual = '"no"' }, "use_parallel_residual" },
  { "roberta-sequence", { pad_token_id = "200" }, "pad_token_id 200" },
  { "roberta-sequence", { position_embedding_type = '"relative_key"' }, "relative_key" },
  { "distilbert-question", { add_cross_attention = "true" }, "add_cross_attention" },
  { "distilbert-question", { activation = '"swish2"' }, "activation", "swish2" },
  { "bart-plain", { max_position_embeddings = "512" }, "max_position_embeddings 512", "embed_positions" },
  { "bart-plain", { normalize_before = "true" }, "normalize_before = true" },
  { "bart-plain", { is_causal = "false" }, "is_causal" },
  { "bart-plain", { decoder_attention_heads = "5" }, "decoder_attention_heads" },
}
for _, case in ipairs(refused) do
  t.test(("refused: %s, %s %s"):format(case[1], case[3], case[4] or ""), function()
    with(case[1], set(case[2]), function(folder)
      t.raises_text(function() pl.load(folder, { tokenizer = false }) end, unpack(case, 3))
    end)
  end)
end
