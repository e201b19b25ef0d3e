--- Whisper's golden model as other programs store it, and with a tokenizer of its own, for specs.
local core = require "perilune.core"
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

--- The bytes of a model.bin. `store(name, tensor)` → kind, bytes, scale variables: how a matrix is stored (default: as it is).
function whisper_of.ctranslate2(folder)
  local tensors, list = stored(folder), {}
  local function add(name, sizes, bytes) list[#list + 1] = variable(name, sizes, 0, bytes) end
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
    .. little_endian(1, 4) .. ctranslate2_name "decoder/projection/weight" .. ctranslate2_name "decoder/embeddings/weight"
end

local ggml_names = { ["self_attn.q_proj"] = "attn.query", ["self_attn.k_proj"] = "attn.key", ["self_attn.v_proj"] = "attn.value",
  ["self_attn.out_proj"] = "attn.out", self_attn_layer_norm = "attn_ln", ["encoder_attn.q_proj"] = "cross_attn.query",
  ["encoder_attn.k_proj"] = "cross_attn.key", ["encoder_attn.v_proj"] = "cross_attn.value", ["encoder_attn.out_proj"] = "cross_attn.out",
  encoder_attn_layer_norm = "cross_attn_ln", fc1 = "mlp.0", fc2 = "mlp.2", final_layer_norm = "mlp_ln" }
local ggml_outside = { ["encoder.embed_positions.weight"] = "encoder.positional_embedding",
  ["decoder.embed_positions.weight"] = "decoder.positional_embedding", ["decoder.embed_tokens.weight"] = "decoder.token_embedding.weight",
  ["encoder.layer_norm.weight"] = "encoder.ln_post.weight", ["encoder.layer_norm.bias"] = "encoder.ln_post.bias",
  ["decoder.layer_norm.weight"] = "decoder.ln.weight", ["decoder.layer_norm.bias"] = "decoder.ln.bias" }

--- The bytes of a GGML file.
function whisper_of.ggml(folder)
  local out = { "lmgg" }
  for _, value in ipairs { 300, 50, 48, 4, 2, 64, 48, 4, 2, 80, 0, 80, 201 } do out[#out + 1] = little_endian(value, 4) end
  out[#out + 1] = zeros[80 * 201]
  out[#out + 1] = little_endian(2, 4) .. little_endian(1, 4) .. "a" .. little_endian(2, 4) .. "bc"
  for name, tensor in pairs(stored(folder)) do
    local side, layer, module, part = name:match "^(%w+)%.layers%.(%d+)%.(.*)%.(%w+)$"
    local theirs = side and ("%s.blocks.%s.%s.%s"):format(side, layer, ggml_names[module], part) or ggml_outside[name] or name
    local sizes = { unpack(tensor.shape) }
    if theirs:find "conv%d.bias" then sizes[2] = 1 end
    out[#out + 1] = little_endian(#sizes, 4) .. little_endian(#theirs, 4) .. little_endian(0, 4)
    for i = #sizes, 1, -1 do out[#out + 1] = little_endian(sizes[i], 4) end
    out[#out + 1] = theirs .. tensor.bytes
    assert(#tensor.bytes == 4 * product(sizes))
  end
  return table.concat(out)
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
