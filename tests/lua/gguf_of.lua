--- GGUF files written for a spec from a model folder, by the names and layouts that ggml publishes.
local core = require "perilune.core"
local pl = require "perilune"
local safetensors_of = require "safetensors_of"

local gguf_of = {}

local little_endian = safetensors_of.little_endian

local function text(s) return little_endian(#s, 8) .. s end

-- An f32's bytes.
local function float(value)
  local sign = value < 0 and 0x80000000 or 0
  if value == 0 then return little_endian(0, 4) end
  local fraction, exponent = math.frexp(math.abs(value))   -- fraction in [0.5, 1)
  return little_endian(sign + (exponent + 126) * 2 ^ 23 + math.floor((fraction * 2 - 1) * 2 ^ 23 + 0.5), 4)
end

local writers = {
  u32 = { 4, function(v) return little_endian(v, 4) end }, f32 = { 6, float },
  bool = { 7, function(v) return v and "\1" or "\0" end }, string = { 8, text },
}

--- The bytes of a file. `keys`: { key, type, value } each; `tensors`: { name=, sizes= (slowest axis first),
--- type= (number), bytes= } each.
function gguf_of.bytes(keys, tensors)
  local head, data, offset = {}, {}, 0
  for _, key in ipairs(keys) do
    local kind, write = unpack(writers[key[2]])
    head[#head + 1] = text(key[1]) .. little_endian(kind, 4) .. write(key[3])
  end
  for _, tensor in ipairs(tensors) do
    local sizes = {}
    for i = #tensor.sizes, 1, -1 do sizes[#sizes + 1] = little_endian(tensor.sizes[i], 8) end
    head[#head + 1] = text(tensor.name) .. little_endian(#sizes, 4) .. table.concat(sizes) .. little_endian(tensor.type, 4)
      .. little_endian(offset, 8)
    local padded = tensor.bytes .. ("\0"):rep(-#tensor.bytes % 32)
    data[#data + 1], offset = padded, offset + #padded
  end
  local all = "GGUF" .. little_endian(3, 4) .. little_endian(#tensors, 8) .. little_endian(#keys, 8) .. table.concat(head)
  return all .. ("\0"):rep(-#all % 32) .. table.concat(data)
end

-- Stored tensors of a safetensors file: name → { sizes=, type=, bytes=, element= }.
local function stored(path)
  local types, list = { F32 = { 0, 4 }, F16 = { 1, 2 }, BF16 = { 30, 2 } }, {}
  for _, tensor in ipairs(safetensors_of.stored(path)) do
    local kind, element = unpack(types[tensor.dtype])
    list[tensor.name] = { sizes = tensor.shape, type = kind, element = element, bytes = tensor.bytes }
  end
  return list
end

local function transposed(t)
  local rows, columns, out = t.sizes[1], t.sizes[2], {}
  for c = 0, columns - 1 do
    for r = 0, rows - 1 do
      local at = (r * columns + c) * t.element
      out[#out + 1] = t.bytes:sub(at + 1, at + t.element)
    end
  end
  t.bytes, t.sizes = table.concat(out), { columns, rows }
end

-- Rows of each head as rotary pairs: row 2i + j from j * half + i.
local function paired(t, heads)
  local rows = t.sizes[1]
  local row, half, out = #t.bytes / rows, rows / heads / 2, {}
  for head = 0, heads - 1 do
    for i = 0, half - 1 do
      for j = 0, 1 do
        local at = (head * 2 * half + j * half + i) * row
        out[#out + 1] = t.bytes:sub(at + 1, at + row)
      end
    end
  end
  t.bytes = table.concat(out)
end

local function plus_one(t)
  local path = os.tmpname()
  local values = pl.tensor((function()
    local list, size = {}, #t.bytes / 4
    for i = 1, size do
      local a, b, c, d = t.bytes:byte(4 * i - 3, 4 * i)
      local exponent, fraction = d % 128 * 2 + math.floor(c / 128), c % 128 * 65536 + b * 256 + a
      local magnitude = exponent == 0 and fraction * 2 ^ -149 or (1 + fraction / 2 ^ 23) * 2 ^ (exponent - 127)
      list[i] = d >= 128 and -magnitude or magnitude
    end
    return list
  end)(), { dtype = "f32", axes = { "x" } })
  pl.save(path, { x = values + 1 })
  t.bytes = stored(path).x.bytes
  os.remove(path)
end

-- Module → name in a block, by family; other names by themselves.
local decoder = { input_layernorm = "attn_norm", ["self_attn.q_proj"] = "attn_q", ["self_attn.k_proj"] = "attn_k",
  ["self_attn.v_proj"] = "attn_v", ["self_attn.o_proj"] = "attn_output", post_attention_layernorm = "ffn_norm",
  ["mlp.gate_proj"] = "ffn_gate", ["mlp.up_proj"] = "ffn_up", ["mlp.down_proj"] = "ffn_down",
  ["self_attn.q_norm"] = "attn_q_norm", ["self_attn.k_norm"] = "attn_k_norm", ["self_attn.qkv_proj"] = "attn_qkv",
  ["mlp.gate_up_proj"] = "ffn_up" }
local gemma = setmetatable({ post_attention_layernorm = "post_attention_norm", pre_feedforward_layernorm = "ffn_norm",
  post_feedforward_layernorm = "post_ffw_norm" }, { __index = decoder })
local decoder_top = { ["model.embed_tokens"] = "token_embd", ["model.norm"] = "output_norm", lm_head = "output" }

local function decoder_keys(c, a)
  local rope = c.rope_parameters or {}
  local keys = { { a .. ".block_count", "u32", c.num_hidden_layers }, { a .. ".context_length", "u32", c.max_position_embeddings },
    { a .. ".embedding_length", "u32", c.hidden_size }, { a .. ".feed_forward_length", "u32", c.intermediate_size },
    { a .. ".attention.head_count", "u32", c.num_attention_heads }, { a .. ".attention.head_count_kv", "u32", c.num_key_value_heads },
    { a .. ".attention.layer_norm_rms_epsilon", "f32", c.rms_norm_eps }, { a .. ".rope.freq_base", "f32", rope.rope_theta or c.rope_theta } }
  if c.head_dim then keys[#keys + 1] = { a .. ".attention.key_length", "u32", c.head_dim } end
  if type(c.sliding_window) == "number" then keys[#keys + 1] = { a .. ".attention.sliding_window", "u32", c.sliding_window } end
  for _, key in ipairs { "attn_logit_softcapping", "final_logit_softcapping" } do
    if c[key] then keys[#keys + 1] = { a .. "." .. key, "f32", c[key] } end
  end
  return keys
end

local families = {
  llama = { block = decoder, top = decoder_top, pattern = "^model%.layers%.(%d+)%.(.+)$", keys = decoder_keys, paired = true },
  gpt2 = {
    block = { ln_1 = "attn_norm", ["attn.c_attn"] = "attn_qkv", ["attn.c_proj"] = "attn_output", ln_2 = "ffn_norm", ["mlp.c_fc"] = "ffn_up",
      ["mlp.c_proj"] = "ffn_down" },
    top = { ["transformer.wte"] = "token_embd", ["transformer.wpe"] = "position_embd", ["transformer.ln_f"] = "output_norm",
      lm_head = "output" },
    pattern = "^transformer%.h%.(%d+)%.(.+)$", transposed = true,
    keys = function(c)
      return { { "gpt2.block_count", "u32", c.n_layer }, { "gpt2.context_length", "u32", c.n_positions },
        { "gpt2.embedding_length", "u32", c.n_embd }, { "gpt2.feed_forward_length", "u32", c.n_inner or 4 * c.n_embd },
        { "gpt2.attention.head_count", "u32", c.n_head }, { "gpt2.attention.layer_norm_epsilon", "f32", c.layer_norm_epsilon } }
    end,
  },
  bert = {
    block = { ["attention.self.query"] = "attn_q", ["attention.self.key"] = "attn_k", ["attention.self.value"] = "attn_v",
      ["attention.output.dense"] = "attn_output", ["attention.output.LayerNorm"] = "attn_output_norm",
      ["intermediate.dense"] = "ffn_up", ["output.dense"] = "ffn_down", ["output.LayerNorm"] = "layer_output_norm" },
    top = { ["bert.embeddings.word_embeddings"] = "token_embd", ["bert.embeddings.position_embeddings"] = "position_embd",
      ["bert.embeddings.token_type_embeddings"] = "token_types", ["bert.embeddings.LayerNorm"] = "token_embd_norm",
      ["bert.pooler.dense"] = false, classifier = false },
    pattern = "^bert%.encoder%.layer%.(%d+)%.(.+)$",
    keys = function(c)
      return { { "bert.block_count", "u32", c.num_hidden_layers }, { "bert.context_length", "u32", c.max_position_embeddings },
        { "bert.embedding_length", "u32", c.hidden_size }, { "bert.feed_forward_length", "u32", c.intermediate_size },
        { "bert.attention.head_count", "u32", c.num_attention_heads }, { "bert.attention.layer_norm_epsilon", "f32", c.layer_norm_eps } }
    end,
  },
}
local function like_llama(changes)
  local family = {}
  for key, value in pairs(families.llama) do family[key] = value end
  family.paired = false
  for key, value in pairs(changes) do family[key] = value end
  return family
end
families.qwen2, families.qwen3, families.phi3 = like_llama {}, like_llama {}, like_llama {}
families.gemma2 = like_llama { block = gemma, plus_one = true }
families.mistral = like_llama { paired = true, architecture = "llama" }

local t5_parts = { q = "q", k = "k", v = "v", o = "o", relative_attention_bias = "rel_b" }
local t5_mlp = { wi = "ffn_up", wi_0 = "ffn_gate", wi_1 = "ffn_up", wo = "ffn_down" }
families.t5 = {
  name = function(module)
    local top = { shared = "token_embd", lm_head = "output", ["encoder.final_layer_norm"] = "enc.output_norm",
      ["decoder.final_layer_norm"] = "dec.output_norm" }
    if top[module] then return top[module] end
    local side, block, layer, rest = module:match "^(..)coder%.block%.(%d+)%.layer%.(%d)%.(.+)$"
    local attention, part = rest:match "^(%a+)Attention%.([%a_]+)$"
    local kind
    if attention then
      kind = (attention == "Self" and "attn_" or "cross_attn_") .. t5_parts[part]
    elseif rest == "layer_norm" then
      kind = layer == "0" and "attn_norm" or (side == "de" and layer == "1" and "cross_attn_norm") or "ffn_norm"
    else
      kind = t5_mlp[rest:match "[%w_]+$"]
    end
    return ("%sc.blk.%s.%s"):format(side, block, kind)
  end,
  keys = function(c)
    return { { "t5.block_count", "u32", c.num_layers }, { "t5.decoder_block_count", "u32", c.num_decoder_layers or c.num_layers },
      { "t5.embedding_length", "u32", c.d_model }, { "t5.feed_forward_length", "u32", c.d_ff }, { "t5.attention.key_length", "u32", c.d_kv },
      { "t5.attention.head_count", "u32", c.num_heads }, { "t5.attention.layer_norm_rms_epsilon", "f32", c.layer_norm_epsilon },
      { "t5.attention.relative_buckets_count", "u32", c.relative_attention_num_buckets }, { "t5.context_length", "u32", 512 },
      { "t5.decoder_start_token_id", "u32", c.decoder_start_token_id } }
  end,
}

local function name_of(family, module)
  if family.name then return family.name(module) end
  if family.top[module] ~= nil then return family.top[module] end
  local layer, rest = module:match(family.pattern)
  return ("blk.%s.%s"):format(layer, assert(family.block[rest], module))
end

--- Keys and tensors of a model folder, for gguf_of.bytes.
function gguf_of.parts(folder)
  local c = core.read_json(folder .. "/config.json")
  local family = families[c.model_type]
  local architecture = family.architecture or c.model_type
  local keys, tensors = family.keys(c, architecture), {}
  table.insert(keys, 1, { "general.architecture", "string", architecture })
  local all = stored(folder .. "/model.safetensors")
  local names = {}
  for name in pairs(all) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local module, suffix = name:match "^(.*)%.(%a+)$"
    local new, t = name_of(family, module), all[name]
    if new then
      if family.transposed and #t.sizes == 2 and module:find "%.h%." then transposed(t) end
      if family.paired and new:find "attn_q$" then paired(t, c.num_attention_heads) end
      if family.paired and new:find "attn_k$" then paired(t, c.num_key_value_heads) end
      if family.plus_one and new:find "norm$" then plus_one(t) end
      t.name = new .. "." .. suffix
      tensors[#tensors + 1] = t
    end
  end
  return keys, tensors
end

gguf_of.float = float

return gguf_of
