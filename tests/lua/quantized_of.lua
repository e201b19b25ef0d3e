--- Small Llamas in published quantized layouts, drawn for one spec: parts of each matrix, and what they mean.
local core = require "perilune.core"
local folder_of = require "folder_of"
local gguf_of = require "gguf_of"
local safetensors_of = require "safetensors_of"

local quantized_of = {}

local state = 1
local function below(n)
  state = state * 16807 % 2147483647
  return math.floor(state / 64) % n
end

local function bytes_of(numbers, encode)
  local out = {}
  for i, number in ipairs(numbers) do out[i] = encode(number) end
  return table.concat(out)
end
local function u32(number) return safetensors_of.little_endian(number % 4294967296, 4) end
local function u8(number) return string.char(number % 256) end

--- The bytes of m / 1024, m whole and below 2048, as f16; with m below 256 as bf16 too.
local encoders = {
  F16 = function(m)
    local exponent = 15
    while m < 1024 do m, exponent = m * 2, exponent - 1 end
    return safetensors_of.little_endian(exponent * 1024 + m - 1024, 2)
  end,
  BF16 = function(m) return gguf_of.float(m / 1024):sub(3, 4) end,
  F32 = function(m) return gguf_of.float(m / 1024) end,
}

-- A stream of words with numbers of some bits, the first lowest.
local function words(numbers, bits)
  local out = {}
  for i = 1, math.ceil(#numbers * bits / 32) do out[i] = 0 end
  for i, number in ipairs(numbers) do
    local at = (i - 1) * bits
    local word, shift = math.floor(at / 32) + 1, at % 32
    out[word] = out[word] + number * 2 ^ shift % 4294967296
    if shift + bits > 32 then out[word + 1] = math.floor(number / 2 ^ (32 - shift)) end
  end
  return out
end

-- What all layouts of whole numbers draw: codes [out][in], scales and zero points [out][group], in 1024ths.
local function draw(out, inner, bits, groups, most)
  local d = { codes = {}, scales = {}, zeros = {} }
  for o = 1, out do
    d.codes[o], d.scales[o], d.zeros[o] = {}, {}, {}
    for k = 1, inner do d.codes[o][k] = below(2 ^ bits) end
    for g = 1, groups do
      d.scales[o][g] = 1 + below(most or 100)
      d.zeros[o][g] = below(2 ^ bits)
    end
  end
  return d
end

local function values_of(d, group_of)
  local values = {}
  for o, codes in ipairs(d.codes) do
    values[o] = {}
    for k, code in ipairs(codes) do
      local g = group_of(k)
      values[o][k] = (code - d.zeros[o][g]) * d.scales[o][g] / 1024
    end
  end
  return values
end

local function column_of(rows, index)
  local column = {}
  for i, row in ipairs(rows) do column[i] = row[index] end
  return column
end

-- Rows of [group][...] end to end.
local function each_group(d, groups, pack)
  local out = {}
  for g = 1, groups do for _, word in ipairs(pack(g)) do out[#out + 1] = word end end
  return out
end

local function scales_by_group(d, groups, dtype)
  return bytes_of(each_group(d, groups, function(g) return column_of(d.scales, g) end), encoders[dtype])
end

-- The group of each input, 1-based: runs, or runs of an order of inputs.
local function groups_by(inner, size, shuffled)
  local order, group_of = {}, {}
  for k = 1, inner do order[k] = k end
  for k = inner, 2, -1 do
    local other = shuffled and 1 + below(k) or k
    order[k], order[other] = order[other], order[k]
  end
  for i, k in ipairs(order) do group_of[k] = math.floor((i - 1) / size) + 1 end
  return group_of
end

local makers = {}

function makers.gptq(out, inner, o)
  local size = o.group == -1 and inner or o.group
  local groups, bits = math.ceil(inner / size), o.bits
  local d, group_of = draw(out, inner, bits, groups), groups_by(inner, size, o.act_order)
  local columns, zeros, index = {}, {}, {}
  for i = 1, out do columns[i] = words(d.codes[i], bits) end
  local qweight = {}
  for row = 1, #columns[1] do for i = 1, out do qweight[#qweight + 1] = columns[i][row] end end
  for g = 1, groups do
    local row = column_of(d.zeros, g)
    if not o.v2 then for i = 1, out do row[i] = (row[i] - 1) % 2 ^ bits end end
    for _, word in ipairs(words(row, bits)) do zeros[#zeros + 1] = word end
  end
  for k = 1, inner do index[k] = group_of[k] - 1 end
  return {
    { "qweight", "I32", { #columns[1], out }, bytes_of(qweight, u32) },
    { "qzeros", "I32", { groups, #zeros / groups }, bytes_of(zeros, u32) },
    { "scales", o.scales or "F16", { groups, out }, scales_by_group(d, groups, o.scales or "F16") },
    { "g_idx", "I32", { inner }, bytes_of(index, u32) },
  }, values_of(d, function(k) return group_of[k] end)
end

function makers.awq(out, inner, o)
  local size = o.group == -1 and inner or o.group
  local groups = math.ceil(inner / size)
  local d = draw(out, inner, 4, groups)
  local order = { 0, 2, 4, 6, 1, 3, 5, 7 }
  local function packed(row)
    local ordered = {}
    for first = 0, out - 1, 8 do for i = 1, 8 do ordered[first + i] = row[first + order[i] + 1] end end
    return words(ordered, 4)
  end
  local qweight, zeros = {}, {}
  for k = 1, inner do for _, word in ipairs(packed(column_of(d.codes, k))) do qweight[#qweight + 1] = word end end
  for g = 1, groups do for _, word in ipairs(packed(column_of(d.zeros, g))) do zeros[#zeros + 1] = word end end
  return {
    { "qweight", "I32", { inner, out / 8 }, bytes_of(qweight, u32) },
    { "qzeros", "I32", { groups, out / 8 }, bytes_of(zeros, u32) },
    { "scales", "F16", { groups, out }, scales_by_group(d, groups, "F16") },
  }, values_of(d, function(k) return math.floor((k - 1) / size) + 1 end)
end

makers["compressed-tensors"] = function(out, inner, o)
  local size = (o.group or -1) == -1 and inner or o.group
  local groups, bits, dtype = inner / size, o.bits, o.scales or "BF16"
  local d = draw(out, inner, bits, groups, o.most)
  local scales, zeros = {}, {}
  for i = 1, out do
    for g = 1, groups do
      scales[#scales + 1] = d.scales[i][g]
      if not o.zeros then d.zeros[i][g] = 2 ^ (bits - 1) end
      zeros[#zeros + 1] = d.zeros[i][g] - 2 ^ (bits - 1)
    end
  end
  local parts = { { "weight_scale", dtype, { out, groups }, bytes_of(scales, encoders[dtype]) } }
  if o.packed then
    local packed, columns = {}, {}
    for i = 1, out do for _, word in ipairs(words(d.codes[i], bits)) do packed[#packed + 1] = word end end
    for g = 1, groups do columns[g] = words(column_of(d.zeros, g), bits) end
    local zero_words = {}
    for row = 1, #columns[1] do for g = 1, groups do zero_words[#zero_words + 1] = columns[g][row] end end
    parts[#parts + 1] = { "weight_packed", "I32", { out, #packed / out }, bytes_of(packed, u32) }
    parts[#parts + 1] = { "weight_shape", "I64", { 2 }, u32(out) .. u32(0) .. u32(inner) .. u32(0) }
    if o.zeros then parts[#parts + 1] = { "weight_zero_point", "I32", { #columns[1], groups }, bytes_of(zero_words, u32) } end
  else
    local codes = {}
    for i = 1, out do for _, code in ipairs(d.codes[i]) do codes[#codes + 1] = code - 128 end end
    parts[#parts + 1] = { "weight", "I8", { out, inner }, bytes_of(codes, u8) }
    if o.zeros then parts[#parts + 1] = { "weight_zero_point", "I8", { out, groups }, bytes_of(zeros, u8) } end
  end
  return parts, values_of(d, function(k) return math.floor((k - 1) / size) + 1 end)
end

local levels = {
  nf4 = { -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434,
    0.5626170039176941, 0.7229568362236023, 1.0 },
  fp4 = { 0.0, 0.0052083334885537624, 0.6666666865348816, 1.0, 0.3333333432674408, 0.5, 0.1666666716337204, 0.25, 0.0,
    -0.0052083334885537624, -0.6666666865348816, -1.0, -0.3333333432674408, -0.5, -0.1666666716337204, -0.25 },
}

-- Scales are powers of two, so that products are exact.
function makers.bitsandbytes(out, inner, o)
  local map, codes, scales, values = o.map or levels[o.kind], {}, {}, {}
  for i = 1, out * inner do codes[i] = below(16) end
  for i = 1, math.ceil(out * inner / o.block) do scales[i] = 2 ^ below(8) end
  for i = 1, out do
    values[i] = {}
    for k = 1, inner do
      local at = (i - 1) * inner + k
      values[i][k] = map[codes[at] + 1] * scales[math.floor((at - 1) / o.block) + 1] / 1024
    end
  end
  local pairs_of = {}
  for i = 1, #codes, 2 do pairs_of[#pairs_of + 1] = codes[i] * 16 + (codes[i + 1] or 0) end
  local text = core.write_json { quant_type = o.kind, blocksize = o.block, dtype = "float32", shape = { out, inner } }
  return {
    { "weight", "U8", { #pairs_of, 1 }, bytes_of(pairs_of, u8) },
    { "weight.absmax", "F32", { #scales }, bytes_of(scales, encoders.F32) },
    { "weight.quant_map", "F32", { 16 }, bytes_of(map, gguf_of.float) },
    { "weight.quant_state.bitsandbytes__" .. o.kind, "U8", { #text }, text },
  }, values
end

--- A folder with a one-layer Llama. `o`: { method=, hidden=, ffn=, config = { of quantization_config }, and what the method's
--- maker above takes }. Also gives module → values [out][in].
function quantized_of.folder(o)
  local hidden, ffn, vocab = o.hidden or 64, o.ffn or 96, 24
  local kv = hidden / 2
  local sizes = { ["self_attn.q_proj"] = { hidden, hidden }, ["self_attn.k_proj"] = { kv, hidden }, ["self_attn.v_proj"] = { kv, hidden },
    ["self_attn.o_proj"] = { hidden, hidden }, ["mlp.gate_proj"] = { ffn, hidden }, ["mlp.up_proj"] = { ffn, hidden }, ["mlp.down_proj"] = { hidden, ffn } }
  local list, values = {}, {}
  local function plain(name, shape)
    local count, out = 1, {}
    for _, size in ipairs(shape) do count = count * size end
    for i = 1, count do out[i] = gguf_of.float((below(2000) - 1000) / 1000) end
    list[#list + 1] = { name = name, dtype = "F32", shape = shape, bytes = table.concat(out) }
  end
  plain("model.embed_tokens.weight", { vocab, hidden })
  plain("lm_head.weight", { vocab, hidden })
  for _, name in ipairs { "model.norm", "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm" } do plain(name .. ".weight", { hidden }) end
  for module, size in pairs(sizes) do
    local parts, meant = makers[o.method](size[1], size[2], o)
    local name = "model.layers.0." .. module
    values[name] = meant
    for _, part in ipairs(parts) do list[#list + 1] = { name = name .. "." .. part[1], dtype = part[2], shape = part[3], bytes = part[4] } end
  end
  local quantization = { quant_method = o.method }
  for key, value in pairs(o.config or {}) do quantization[key] = value end
  local json = { model_type = "llama", architectures = { "LlamaForCausalLM" }, vocab_size = vocab, hidden_size = hidden, intermediate_size = ffn,
    num_hidden_layers = 1, num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 64, rms_norm_eps = 1e-5,
    tie_word_embeddings = false, hidden_act = "silu", rope_theta = 10000, bos_token_id = 1, eos_token_id = 2, quantization_config = quantization }
  return folder_of.files { ["config.json"] = core.write_json(json), ["model.safetensors"] = safetensors_of.bytes(list) }, values
end

--- Two copies of a model's folder: its matrices whose names `chosen` takes in a quantized layout (`o` as above), and as the
--- floats that these mean. turned: the family stores them [input, output], which no quantized layout does.
function quantized_of.copies(folder, chosen, o, turned)
  local quantized, dense = {}, {}
  for _, tensor in ipairs(safetensors_of.stored(folder .. "/model.safetensors")) do
    if #tensor.shape ~= 2 or not chosen(tensor.name) then
      quantized[#quantized + 1], dense[#dense + 1] = tensor, tensor
    else
      local rows, columns = tensor.shape[1], tensor.shape[2]
      if turned then rows, columns = columns, rows end
      local parts, values = makers[o.method](rows, columns, o)
      for _, part in ipairs(parts) do
        quantized[#quantized + 1] = { name = tensor.name:gsub("weight$", part[1]), dtype = part[2], shape = part[3], bytes = part[4] }
      end
      local floats = {}
      for i = 1, tensor.shape[1] do
        for k = 1, tensor.shape[2] do floats[#floats + 1] = gguf_of.float(turned and values[k][i] or values[i][k]) end
      end
      dense[#dense + 1] = { name = tensor.name, dtype = "F32", shape = tensor.shape, bytes = table.concat(floats) }
    end
  end
  local json = core.read_json(folder .. "/config.json")
  json.quantization_config = { quant_method = o.method, bits = o.bits, group_size = o.group }
  return folder_of.copy(folder, { ["config.json"] = core.write_json(json), ["model.safetensors"] = safetensors_of.bytes(quantized) }),
    folder_of.copy(folder, { ["model.safetensors"] = safetensors_of.bytes(dense) })
end

return quantized_of
