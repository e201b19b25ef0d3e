-- Whisper as CTranslate2's folder (model.bin) and whisper.cpp's GGML file: what config.json and
-- generation_config.json would say, from the sizes that are stored.
local core = require "perilune.core"
local raise = require "perilune.base.raise"

local whisper_file = {}

-- Layers of one side by the tensors that are there.
local function layers_of(file, side)
  local count = 0
  while file:has(("%s.layers.%d.fc1.weight"):format(side, count)) do count = count + 1 end
  return count
end

-- The file as a config.json of the published layout; `heads` a number for each side.
local function config_of(path, file, heads)
  local function sizes(name)
    if not file:has(name) then raise("format", "load", ("%s: there is no tensor %s"):format(path, name)) end
    return file:info(name).sizes
  end
  local embedding, conv = sizes "decoder.embed_tokens.weight", sizes "encoder.conv1.weight"
  local json = { model_type = "whisper", architectures = { "WhisperForConditionalGeneration" }, is_encoder_decoder = true,
    vocab_size = embedding[1], d_model = embedding[2], num_mel_bins = conv[2], activation_function = "gelu", scale_embedding = false,
    tie_word_embeddings = true, max_source_positions = sizes("encoder.embed_positions.weight")[1],
    max_target_positions = sizes("decoder.embed_positions.weight")[1] }
  for _, side in ipairs { "encoder", "decoder" } do
    json[side .. "_layers"] = layers_of(file, side)
    json[side .. "_ffn_dim"] = sizes(side .. ".layers.0.fc1.weight")[1]
    json[side .. "_attention_heads"] = heads[side]
  end
  -- English models have one id fewer before the start: their end of text is among GPT-2's.
  local last = json.vocab_size < 51865 and 50256 or 50257
  json.bos_token_id, json.eos_token_id, json.pad_token_id, json.decoder_start_token_id = last, last, last, last + 1
  return json
end

-- What both say of generation.
local function generation_of(json)
  return { bos_token_id = json.bos_token_id, eos_token_id = json.eos_token_id, pad_token_id = json.pad_token_id,
    decoder_start_token_id = json.decoder_start_token_id, max_length = json.max_target_positions,
    is_multilingual = json.vocab_size >= 51865 }
end

local function number(path, file, key)
  local value = tonumber(file.metadata[key])
  return value or raise("format", "load", ("%s: it does not say %s"):format(path, key))
end

local function ctranslate2(folder)
  local path = folder .. "/model.bin"
  local file = core.open_tensors(path)
  local json = config_of(path, file, { encoder = number(path, file, "encoder.num_heads"), decoder = number(path, file, "decoder.num_heads") })
  file:close()
  local generation = generation_of(json)
  if core.file_exists(folder .. "/config.json") then
    local own = core.read_json(folder .. "/config.json")
    generation.suppress_tokens, generation.begin_suppress_tokens = own.suppress_ids, own.suppress_ids_begin
    generation.alignment_heads = own.alignment_heads
  end
  return { path = folder, weights = path, json = json, generation = generation, file = "config.json" }
end

local function ggml(path)
  local file = core.open_tensors(path)
  local json = config_of(path, file, { encoder = number(path, file, "n_audio_head"), decoder = number(path, file, "n_text_head") })
  for key, name in pairs { vocab_size = "n_vocab", encoder_layers = "n_audio_layer", decoder_layers = "n_text_layer", num_mel_bins = "n_mels" } do
    local said = number(path, file, name)
    if said ~= json[key] then
      raise("format", "load", ("%s: %s is %d, its tensors say %d"):format(path, name, said, json[key]))
    end
  end
  file:close()
  return { path = path, weights = path, json = json, generation = generation_of(json), file = path:match "[^/]*$" }
end

local function begins_with(path, bytes)
  local file = io.open(path, "rb")
  local first = file and file:read(#bytes)
  if file then file:close() end
  return first == bytes
end

--- What a path says of a model, where it is one of the two; nil where it is neither.
---@param path string
---@return table|nil record { path=, weights=, json=, generation=, file= (the name of what says how to generate) }
function whisper_file.read(path)
  if core.file_exists(path) then return begins_with(path, "lmgg") and ggml(path) or nil end
  local other = core.file_exists(path .. "/model.safetensors") or core.file_exists(path .. "/model.safetensors.index.json")
  return not other and core.file_exists(path .. "/model.bin") and ctranslate2(path) or nil
end

return whisper_file
