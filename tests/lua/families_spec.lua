-- Every family: its forward passes against the reference, the eager run bit for bit equal to the
-- compiled one, and what its config reader refuses.
local pl = require "perilune"
local core = require "perilune.core"
local reference = require "perilune.compare.reference"
local t = require "spec"

local models = { "llama-gqa", "llama-rope3-bf16", "llama-rope-linear", "gpt2-plain", "bert-base", "bert-sequence",
  "bert-masked", "bert-token", "bert-question", "t5-gated-untied", "t5-relu-tied", "mistral-window", "qwen2-bias",
  "qwen3-qknorm", "phi-partial-rotary", "phi3-fused-qkv", "gemma2-softcap", "gpt_neox-parallel", "roberta-base",
  "roberta-masked", "roberta-token", "roberta-question", "roberta-sequence", "distilbert-base", "distilbert-masked",
  "distilbert-token", "distilbert-question", "distilbert-sequence", "bart-plain" }

local function input_of(case)
  return pl.batch({ case.ids }, { type_ids = case.token_type_ids and { case.token_type_ids } or nil })
end

local function options_of(m, case)
  local outputs = { "hidden_states" }
  for _, name in ipairs { "logits", "start_logits", "end_logits" } do
    if case[name] then outputs[#outputs + 1] = name end
  end
  if m.head == "base" then outputs[#outputs + 1] = "last_hidden_state" end
  if case.encoder_last then outputs[#outputs + 1] = "encoder_last" end
  return { rows = "all", outputs = outputs, decoder = case.decoder_ids and { case.decoder_ids } or nil }
end

local function tensors_of(out)
  local list = {}
  for _, name in ipairs { "logits", "start_logits", "end_logits", "last_hidden_state", "pooled", "encoder_last" } do
    if out[name] then list[#list + 1] = { name, out[name] } end
  end
  for i, h in ipairs(out.hidden_states or {}) do list[#list + 1] = { "hidden_states " .. i, h } end
  return list
end

for _, name in ipairs(models) do
  t.test(name .. ": within 1e-4 of the reference", function()
    local folder = t.golden(name)
    local m = pl.load(folder, { compute = "f32" })
    local expected = core.read_json(folder .. "/expected.json")
    local stored = pl.open(folder .. "/expected.safetensors")
    for i, case in ipairs(expected.forward) do
      local out = m:forward(input_of(case), options_of(m, case))
      for _, key in ipairs { "logits", "start_logits", "end_logits", "last_hidden_state", "encoder_last" } do
        if case[key] then
          local difference = reference.difference(reference.flatten(out[key]), reference.flatten(stored.tensor(case[key])))
          t.ok(difference <= 1e-4, ("case %d, %s: %g"):format(i, key, difference))
        end
      end
      local hidden = case.hidden_states or case.decoder_hidden_states or {}   -- stored for some cases only
      if #hidden > 0 then t.equal(#out.hidden_states, #hidden) end
      for h, key in ipairs(hidden) do
        local difference = reference.difference(reference.flatten(out.hidden_states[h]), reference.flatten(stored.tensor(key)))
        t.ok(difference <= 1e-4, ("case %d, hidden state %d: %g"):format(i, h, difference))
      end
    end
  end)

  t.test(name .. ": eager bits equal the compiled ones", function()
    local folder = t.golden(name)
    local m = pl.load(folder, { compute = "f32" })
    local eager = m:eager()
    local expected = core.read_json(folder .. "/expected.json")
    for _, case in ipairs(expected.forward) do
      local compiled, lines = m:forward(input_of(case), options_of(m, case)), eager:forward(input_of(case), options_of(m, case))
      local a, b = tensors_of(compiled), tensors_of(lines)
      t.equal(#a, #b)
      t.ok(#a > 2)
      for i = 1, #a do t.ok(a[i][2]:equal(b[i][2]), a[i][1] .. " differs") end
    end
  end)

  t.test(name .. ": padding changes nothing", function()
    local folder = t.golden(name)
    local m = pl.load(folder, { compute = "f32" })
    local cases = core.read_json(folder .. "/expected.json").forward
    local rows, types = {}, nil
    for i, case in ipairs(cases) do
      rows[i] = case.ids
      if case.token_type_ids then
        types = types or {}
        types[i] = case.token_type_ids
      end
    end
    local batch = pl.batch(rows, { type_ids = types })
    local decoder
    if m.head == "seq2seq" then
      decoder = {}
      for i, case in ipairs(cases) do decoder[i] = case.decoder_ids or { case.ids[1], case.ids[2] } end
    end
    local ragged = m:forward(batch, { decoder = decoder })
    for _, side in ipairs { "left", "right" } do
      local padded = m:forward(batch:padded { side = side, multiple_of = 8 }, { decoder = decoder })
      for i = 1, #rows do
        for _, key in ipairs { "logits", "start_logits", "pooled" } do
          local first = ragged[key] and ragged[key].shape[1].name
          if first == "batch" then
            t.ok(ragged[key]:at { batch = i }:equal(padded[key]:at { batch = i }), key)
          elseif ragged[key] and not decoder then
            local width = padded[key].shape.seq
            local own = side == "left" and { width - #rows[i] + 1, width } or { 1, #rows[i] }
            local mine = padded[key]:at { batch = i, seq = own }:rename { seq = "token" }
            t.ok(batch:split(ragged[key])[i]:equal(mine), key)
          end
        end
      end
    end
  end)
end

-- A copy of a golden config with changes, read by its family alone.
local function configure(name, changes)
  local family = require "perilune.loaded.family"
  local json = core.read_json(t.golden(name) .. "/config.json")
  for key, value in pairs(changes) do
    if value == "nil" then json[key] = nil else json[key] = value end
  end
  local chosen = family.choose(json)
  return family.configure(chosen, json), family.unknown_keys(chosen, json)
end

local refused = {
  { "llama-gqa", { rope_parameters = { rope_type = "spiral" } }, "spiral", "llama3" },
  { "llama-gqa", { rope_parameters = { rope_type = "llama3", factor = 8 } }, "llama3", "low_freq_factor" },
  { "llama-gqa", { rope_parameters = { rope_type = "linear", factor = -1 } }, "factor", "-1" },
  { "llama-gqa", { rope_parameters = "nil", rope_scaling = { type = "wavy", factor = 2 } }, "wavy" },
  { "llama-gqa", { hidden_act = "swoosh" }, "swoosh" },
  { "llama-gqa", { num_key_value_heads = 4 }, "6", "4" },
  { "llama-gqa", { head_dim = "nil", num_attention_heads = 5, num_key_value_heads = 5 }, "48", "5" },
  { "llama-gqa", { is_encoder_decoder = true }, "is_encoder_decoder", "mathematics" },
  { "llama-gqa", { rms_norm_eps = -1 }, "rms_norm_eps" },
  { "llama-gqa", { model_type = "gpt2" }, "gpt2", "LlamaForCausalLM" },
  { "llama-gqa", { model_type = "lama" }, "lama", 'did you mean "llama"' },
  { "llama-gqa", { architectures = { "LlamaForSequenceClassification" } }, "LlamaForSequenceClassification", "head" },
  { "gpt2-plain", { n_head = 7 }, "60", "7" },
  { "gpt2-plain", { add_cross_attention = true }, "add_cross_attention" },
  { "gpt2-plain", { activation_function = "wobble" }, "wobble" },
  { "bert-base", { position_embedding_type = "relative_key" }, "relative_key", "absolute" },
  { "bert-base", { is_decoder = true }, "is_decoder" },
  { "bert-base", { id2label = { ["0"] = "A", ["2"] = "C" } }, "id2label" },
  { "t5-relu-tied", { feed_forward_proj = "gated-wobble", dense_act_fn = "nil" }, "wobble" },
  { "t5-relu-tied", { is_encoder_decoder = false }, "is_encoder_decoder" },
}
for _, case in ipairs(refused) do
  t.test("refused: " .. case[1] .. " " .. case[3], function()
    local parts = {}
    for i = 3, #case do parts[#parts + 1] = case[i] end
    t.raises_text(function() configure(case[1], case[2]) end, "load:", unpack(parts))
  end)
end

t.test("an unknown key is a warning, a key of training is not", function()
  local _, warnings = configure("llama-gqa", { flux_capacity = 3, attention_dropout = 0.5 })
  t.equal(#warnings, 1)
  t.ok(warnings[1]:find("flux_capacity", 1, true))
end)

t.test("rope: a key that no type reads is a warning that names it", function()
  local _, warnings = configure("llama-gqa", { rope_parameters = { rope_type = "yarn", factor = 2, mystery = 1, finetuned = true } })
  t.equal(warnings, { 'config.json: rope type yarn does not read "finetuned"; it is ignored',
    'config.json: rope type yarn does not read "mystery"; it is ignored' })
end)

t.test("rope: old and new spellings mean the same", function()
  local new = configure("llama-gqa", { rope_parameters = { rope_type = "linear", factor = 4, rope_theta = 5000 } })
  local old = configure("llama-gqa", { rope_parameters = "nil", rope_theta = 5000, rope_scaling = { type = "linear", factor = 4 } })
  t.equal(new.rope, old.rope)
  t.equal(old.rope.scaling.factor, 4)
  t.equal(old.rope.theta, 5000)
end)

t.test("rope: yarn takes its factor from the lengths when it has none", function()
  local c = configure("llama-gqa", { rope_parameters = { rope_type = "yarn", original_max_position_embeddings = 64 } })
  t.equal(c.rope.scaling.factor, 4)
  t.equal(pl.rope_options({ rotary_pct = 0.25 }, 64).dims, 16)
  t.raises_text(function() pl.rope_options({ partial_rotary_factor = 0.3 }, 10) end, "even")
end)

t.test("dynamic rope reads beyond the trained length", function()
  local c = configure("llama-gqa", { rope_parameters = { rope_type = "dynamic", factor = 2, rope_theta = 10000 } })
  t.equal(c.max_tokens, 512)
end)

t.test("a family of a script: mistakes in the table", function()
  t.raises_text(function() pl.family { nam = "x" } end, "nam", "name")
  t.raises_text(function() pl.family { name = "x", architectures = {}, config = print, heads = {} } end, "no pass")
  t.raises_text(function()
    pl.family { name = "x", architectures = { Foo = "causal" }, config = print, heads = { base = print }, decode = print }
  end, "Foo", "causal")
  t.raises_text(function()
    pl.family { name = "x", model_types = { "llama" }, architectures = { Bar = "base" }, config = print, heads = { base = print }, decode = print }
  end, "llama", "already")
end)

t.test("a family of a script: its own pass on another model's files", function()
  local llama = require "perilune.models.llama"
  local quiet = {}
  for key, value in pairs(llama) do quiet[key] = value end
  quiet.name, quiet.model_types, quiet.architectures = "quiet", { "quiet" }, { QuietForCausalLM = "causal" }
  quiet.heads = { causal = function(net, x) return net:softcap(llama.heads.causal(net, x), 5) end }
  pl.family(quiet)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("cp -r '%s' '%s'"):format(t.golden "llama-gqa", folder)))
  local text = core.read_file(folder .. "/config.json"):gsub('"llama"', '"quiet"'):gsub("LlamaForCausalLM", "QuietForCausalLM")
  core.write_file(folder .. "/config.json", text)
  local m, plain = pl.load(folder, { compute = "f32" }), pl.load(t.golden "llama-gqa", { compute = "f32" })
  os.execute(("rm -r '%s'"):format(folder))
  t.equal(m.family, "quiet")
  local ids = { { 1, 306, 353, 299 } }
  local a, b = m:forward(ids).logits, plain:forward(ids).logits
  t.ok(a:abs():max() <= 5)
  t.equal(a:argmax("vocab"):tolist(), b:argmax("vocab"):tolist())
  t.equal(#m:generate(ids[1], { max_new_tokens = 4, do_sample = false, eos_token_id = {} }).ids, 4)
end)
