--- Whisper's golden model as other programs store it, and with a tokenizer of its own, for specs.
local ffi = require "ffi"
local core = require "perilune.core"
local gguf_of = require "gguf_of"
local safetensors_of = require "safetensors_of"

local whisper_of = {}

local little_endian = safetensors_of.little_endian

-- The published tensors: name without "model." → { shape=, bytes= }.
local function stored(folder)
  local list = {}
  for _, tensor in ipairs(safetensors_of.stored(folder .. "/model.safetensors")) do list[tensor.name:gsub("^model%.", "")] = tensor end
  return list
end

local function product(sizes)
  local count = 1
  for _, size in ipairs(sizes) do count = count * size end
  return count
end

local function ctranslate2_name(name) return little_endian(#name + 1, 2) .. name .. "\0" end

-- One variable of CTranslate2's file.
local function variable(name, sizes, kind, bytes)
  local out = { ctranslate2_name(name), string.char(#sizes) }
  for _, size in ipairs(sizes) do out[#out + 1] = little_endian(size, 4) end
  out[#out + 1] = string.char(kind) .. little_endian(#bytes, 4) .. bytes
  return table.concat(out)
end

local zeros = setmetatable({}, { __index = function(_, count) return ("\0"):rep(4 * count) end })

-- Modules of a layer: theirs, ours (fused in this order).
local ctranslate2_layer = {
  encoder = { { "self_attention/linear_0", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj" }, { "self_attention/linear_1", "self_attn.out_proj" },
    { "ffn/linear_0", "fc1" }, { "ffn/linear_1", "fc2" } },
  decoder = { { "attention/linear_0", "encoder_attn.q_proj" }, { "attention/linear_1", "encoder_attn.k_proj", "encoder_attn.v_proj" },
    { "attention/linear_2", "encoder_attn.out_proj" } },
}
local ctranslate2_norms = { ["self_attention/layer_norm"] = "self_attn_layer_norm", ["attention/layer_norm"] = "encoder_attn_layer_norm",
  ["ffn/layer_norm"] = "final_layer_norm" }

local function floats_of(bytes)
  local values, list = ffi.new("float[?]", #bytes / 4), {}
  ffi.copy(values, bytes, #bytes)
  for i = 1, #bytes / 4 do list[i] = values[i - 1] end
  return list
end

local function largest(list, first, last)
  local most = 0
  for i = first, last do most = math.max(most, math.abs(list[i])) end
  return most
end

-- How CTranslate2 stores a matrix in whole numbers: type, bytes, scales; and what they stand for.
local whole_numbers = {
  int8 = function(list, inner)   -- a scale a row
    local bytes, scales, values = {}, {}, {}
    for row = 0, #list / inner - 1 do
      local scale = floats_of(gguf_of.float(127 / largest(list, row * inner + 1, (row + 1) * inner)))[1]
      scales[#scales + 1] = gguf_of.float(scale)
      for i = row * inner + 1, (row + 1) * inner do
        local n = math.floor(list[i] * scale + 0.5)
        bytes[i], values[i] = string.char(n % 256), n / scale
      end
    end
    return 1, table.concat(bytes), scales, values
  end,
  int16 = function(list)         -- one for all
    local scale, bytes, values = 1024, {}, {}
    for i, x in ipairs(list) do
      local n = math.floor(x * scale + 0.5)
      bytes[i], values[i] = little_endian(n % 65536, 2), n / scale
    end
    return 2, table.concat(bytes), { gguf_of.float(scale) }, values
  end,
}

--- The bytes of a model.bin, and what its whole numbers stand for by variable. `store`: how matrices of layers and the
--- embedding are stored: "int8", "int16", nil for f32.
function whisper_of.ctranslate2(folder, store)
  local meant = {}
  local tensors, list = stored(folder), {}
  local function add(name, sizes, bytes)
    if not store or #sizes ~= 2 or name:find "position" then
      list[#list + 1] = variable(name, sizes, 0, bytes)
      return
    end
    local kind, whole, scales, values = whole_numbers[store](floats_of(bytes), sizes[2])
    meant[name] = values
    list[#list + 1] = variable(name, sizes, kind, whole)
    list[#list + 1] = variable(name .. "_scale", #scales == 1 and {} or { #scales }, 0, table.concat(scales))
  end
  local function number(name, value) list[#list + 1] = variable(name, {}, 1, string.char(value)) end
  local function copy(theirs, ours) add(theirs, tensors[ours].shape, tensors[ours].bytes) end
  local function norm(theirs, ours)
    copy(theirs .. "/gamma", ours .. ".weight")
    copy(theirs .. "/beta", ours .. ".bias")
  end
  local function linear(base, row, path)
    local weights, biases, rows = {}, {}, 0
    local inner
    for i = 2, #row do
      local weight, bias = tensors[path .. row[i] .. ".weight"], tensors[path .. row[i] .. ".bias"]
      weights[#weights + 1], inner = weight.bytes, weight.shape[2]
      rows = rows + weight.shape[1]
      biases[#biases + 1] = bias and bias.bytes or zeros[weight.shape[1]]
    end
    add(base .. row[1] .. "/weight", { rows, inner }, table.concat(weights))
    add(base .. row[1] .. "/bias", { rows }, table.concat(biases))
  end
  for _, side in ipairs { "encoder", "decoder" } do
    number(side .. "/num_heads", 4)
    copy(side .. "/position_encodings/encodings", side .. ".embed_positions.weight")
    norm(side .. "/layer_norm", side .. ".layer_norm")
    for layer = 0, 1 do
      local base, path = ("%s/layer_%d/"):format(side, layer), ("%s.layers.%d."):format(side, layer)
      for _, kind in ipairs(side == "encoder" and { "encoder" } or { "encoder", "decoder" }) do
        for _, row in ipairs(ctranslate2_layer[kind]) do linear(base, row, path) end
      end
      for theirs, ours in pairs(ctranslate2_norms) do
        if tensors[path .. ours .. ".weight"] then norm(base .. theirs, path .. ours) end
      end
    end
  end
  for _, conv in ipairs { "conv1", "conv2" } do
    for _, part in ipairs { "weight", "bias" } do copy(("encoder/%s/%s"):format(conv, part), ("encoder.%s.%s"):format(conv, part)) end
  end
  copy("decoder/embeddings/weight", "decoder.embed_tokens.weight")
  return little_endian(6, 4) .. ctranslate2_name "WhisperSpec" .. little_endian(3, 4) .. little_endian(#list, 4) .. table.concat(list)
    .. little_endian(1, 4) .. ctranslate2_name "decoder/projection/weight" .. ctranslate2_name "decoder/embeddings/weight", meant
end

local ggml_names = { ["self_attn.q_proj"] = "attn.query", ["self_attn.k_proj"] = "attn.key", ["self_attn.v_proj"] = "attn.value",
  ["self_attn.out_proj"] = "attn.out", self_attn_layer_norm = "attn_ln", ["encoder_attn.q_proj"] = "cross_attn.query",
  ["encoder_attn.k_proj"] = "cross_attn.key", ["encoder_attn.v_proj"] = "cross_attn.value", ["encoder_attn.out_proj"] = "cross_attn.out",
  encoder_attn_layer_norm = "cross_attn_ln", fc1 = "mlp.0", fc2 = "mlp.2", final_layer_norm = "mlp_ln" }
local ggml_outside = { ["encoder.embed_positions.weight"] = "encoder.positional_embedding",
  ["decoder.embed_positions.weight"] = "decoder.positional_embedding", ["decoder.embed_tokens.weight"] = "decoder.token_embedding.weight",
  ["encoder.layer_norm.weight"] = "encoder.ln_post.weight", ["encoder.layer_norm.bias"] = "encoder.ln_post.bias",
  ["decoder.layer_norm.weight"] = "decoder.ln.weight", ["decoder.layer_norm.bias"] = "decoder.ln.bias" }

local function half(value)   -- of 2^-14 to 2^15, exactly representable
  local fraction, exponent = math.frexp(math.abs(value))
  return little_endian((value < 0 and 32768 or 0) + (exponent + 14) * 1024 + fraction * 2048 - 1024, 2)
end

-- A power of two that is no less than x: f16 holds it.
local function step_of(x) return 2 ^ math.max(-14, math.ceil(math.log(x) / math.log(2))) end

-- Blocks of 32 as whisper.cpp quantizes them: ggml's type, a block's bytes, what they stand for.
local blocks = {
  q8_0 = { 8, function(x)
    local d, out, values = step_of(largest(x, 1, 32) / 127), {}, {}
    for i, v in ipairs(x) do
      local q = math.floor(v / d + 0.5)
      out[i], values[i] = string.char(q % 256), q * d
    end
    return half(d) .. table.concat(out), values
  end },
  q5_1 = { 7, function(x)
    local least, most = math.min(unpack(x)), math.max(unpack(x))
    local m = -step_of(math.max(-least, 1e-4))
    local d, high, out, values, q = step_of((most - m) / 31), 0, {}, {}, {}
    for i, v in ipairs(x) do
      q[i] = math.max(0, math.min(31, math.floor((v - m) / d + 0.5)))
      values[i] = q[i] * d + m
      if q[i] >= 16 then high = high + 2 ^ (i - 1) end
    end
    for i = 1, 16 do out[i] = string.char(q[i] % 16 + q[i + 16] % 16 * 16) end
    return half(d) .. half(m) .. little_endian(high, 4) .. table.concat(out), values
  end },
  q4_0 = { 2, function(x)
    local d, out, values, q = step_of(largest(x, 1, 32) / 7), {}, {}, {}
    for i, v in ipairs(x) do
      q[i] = math.floor(v / d + 0.5) + 8
      values[i] = (q[i] - 8) * d
    end
    for i = 1, 16 do out[i] = string.char(q[i] + q[i + 16] * 16) end
    return half(d) .. table.concat(out), values
  end },
}

local function blocks_of(bytes, block)
  local x, out, values = floats_of(bytes), {}, {}
  for first = 1, #x, 32 do
    local own, stands = block[2] { unpack(x, first, first + 31) }
    out[#out + 1] = own
    for i, v in ipairs(stands) do values[first + i - 1] = v end
  end
  return table.concat(out), values
end

--- The bytes of a GGML file, and what its blocks stand for by published name. `store`: how matrices are stored whose rows
--- are whole blocks: "q4_0", "q5_1", "q8_0", nil for f32.
function whisper_of.ggml(folder, store)
  local meant, block = {}, blocks[store]
  local out = { "lmgg" }
  for _, value in ipairs { 300, 50, 48, 4, 2, 64, 48, 4, 2, 80, 0, 80, 201 } do out[#out + 1] = little_endian(value, 4) end
  out[#out + 1] = zeros[80 * 201]
  out[#out + 1] = little_endian(2, 4) .. little_endian(1, 4) .. "a" .. little_endian(2, 4) .. "bc"
  for name, tensor in pairs(stored(folder)) do
    local side, layer, module, part = name:match "^(%w+)%.layers%.(%d+)%.(.*)%.(%w+)$"
    local theirs = side and ("%s.blocks.%s.%s.%s"):format(side, layer, ggml_names[module], part) or ggml_outside[name] or name
    local sizes = { unpack(tensor.shape) }
    if theirs:find "conv%d.bias" then sizes[2] = 1 end
    local kind, bytes = 0, tensor.bytes
    assert(#bytes == 4 * product(sizes))
    if block and #sizes == 2 and sizes[2] % 32 == 0 then
      kind = block[1]
      bytes, meant[name] = blocks_of(bytes, block)
    end
    out[#out + 1] = little_endian(#sizes, 4) .. little_endian(#theirs, 4) .. little_endian(kind, 4)
    for i = #sizes, 1, -1 do out[#out + 1] = little_endian(sizes[i], 4) end
    out[#out + 1] = theirs .. bytes
  end
  return table.concat(out), meant
end

--- tokenizer.json for its 300 ids: 240 of text, two languages, times of 0.00 to 0.98 s.
function whisper_of.tokenizer()
  local vocab, added = {}, {}
  for id = 0, 239 do vocab[id < 94 and string.char(33 + id) or ("t%d"):format(id)] = id end
  vocab["Ġ"], vocab.t94 = 94, nil
  local names = { "endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps" }
  for i = 0, 49 do names[#names + 1] = ("%.2f"):format(i * 0.02) end
  for i, name in ipairs(names) do
    added[i] = { id = 239 + i, content = "<|" .. name .. "|>", special = true, single_word = false, lstrip = false, rstrip = false, normalized = false }
  end
  return core.write_json { version = "1.0", added_tokens = core.array(added),
    pre_tokenizer = { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = true }, decoder = { type = "ByteLevel",
      add_prefix_space = true, trim_offsets = true, use_regex = true },
    model = { type = "BPE", vocab = vocab, merges = core.array {} } }
end

return whisper_of
