--- Model folders made for one spec: copies with other files, and tiny ones of any vocabulary.
local pl = require "perilune"
local core = require "perilune.core"

local folder_of = {}
local made = {}

local function fresh()
  local path = os.tmpname()
  os.remove(path)
  core.make_directory(path, "test")
  made[#made + 1] = path
  return path
end


--- A folder with these files: name → text.
function folder_of.files(files)
  local path = fresh()
  for name, text in pairs(files) do core.write_file(path .. "/" .. name, text) end
  return path
end

--- A copy of a folder. `files`: name → text, false to leave it out, or { from= } another file's content.
function folder_of.copy(from, files)
  local path = fresh()
  for _, name in ipairs(core.list_directory(from)) do
    local left_out = name:find "^expected" or name:find "%.lock$" or core.folder_exists(from .. "/" .. name)
    if not left_out and (files or {})[name] == nil then
      core.write_file(path .. "/" .. name, core.read_file(from .. "/" .. name))
    end
  end
  for name, content in pairs(files or {}) do
    if content then core.write_file(path .. "/" .. name, type(content) == "table" and core.read_file(content.from) or content) end
  end
  return path
end

--- A text with `old` replaced by `new`, which must be there.
function folder_of.changed(path, old, new)
  local text = core.read_file(path)
  local first, last = text:find(old, 1, true)
  assert(first, path .. " lacks " .. old)
  return text:sub(1, first - 1) .. new .. text:sub(last + 1)
end

--- A one-layer Llama with this many embedding rows and no tokenizer. `loud`: a row whose logit always wins.
function folder_of.llama(rows, loud, config)
  local path, hidden = fresh(), 8
  local json = { model_type = "llama", architectures = { "LlamaForCausalLM" }, vocab_size = rows, hidden_size = hidden, intermediate_size = 8,
    num_hidden_layers = 1, num_attention_heads = 2, num_key_value_heads = 1, max_position_embeddings = 64, rms_norm_eps = 1e-5,
    tie_word_embeddings = false, hidden_act = "silu", rope_theta = 10000, bos_token_id = 1, eos_token_id = 2 }
  for key, value in pairs(config or {}) do json[key] = value end
  core.write_file(path .. "/config.json", core.write_json(json))
  local seed = 0
  local function random(out, inner)
    seed = seed + 1
    return pl.random({ out, inner }, { seed = seed, axes = { "out", "in" } })
  end
  local head = random(rows, hidden)
  if loud then head = head * 0.01 end
  local ones = pl.ones({ hidden }, { axes = { "in" } })
  local l = "model.layers.0."
  local tensors = { ["model.embed_tokens.weight"] = random(rows, hidden), ["lm_head.weight"] = head, ["model.norm.weight"] = ones,
    [l .. "input_layernorm.weight"] = ones, [l .. "post_attention_layernorm.weight"] = ones,
    [l .. "self_attn.q_proj.weight"] = random(8, hidden), [l .. "self_attn.k_proj.weight"] = random(4, hidden),
    [l .. "self_attn.v_proj.weight"] = random(4, hidden), [l .. "self_attn.o_proj.weight"] = random(hidden, 8),
    [l .. "mlp.gate_proj.weight"] = random(8, hidden), [l .. "mlp.up_proj.weight"] = random(8, hidden),
    [l .. "mlp.down_proj.weight"] = random(hidden, 8) }
  if loud then   -- two rows of opposite sign: whatever the hidden state, one of them is far above the rest
    local list = head:tolist()
    for i = 1, hidden do list[loud + 1][i], list[loud + 2][i] = 50 * i, -50 * i end
    tensors["lm_head.weight"] = pl.tensor(list, { dtype = "f32", axes = { "out", "in" } })
  end
  pl.save(path .. "/model.safetensors", tensors)
  return path
end

-- The length-delimited top-level fields of a SentencePiece file, whole, and whether each is a piece.
local function fields_of(bytes)
  local list, at = {}, 1
  local function varint()
    local value, scale = 0, 1
    while true do
      local byte = bytes:byte(at)
      at, value, scale = at + 1, value + byte % 128 * scale, scale * 128
      if byte < 128 then return value end
    end
  end
  while at <= #bytes do
    local first, tag = at, varint()
    assert(tag % 8 == 2, "a field of another type")
    local length = varint()
    at = at + length
    list[#list + 1] = { text = bytes:sub(first, at - 1), piece = math.floor(tag / 8) == 1, body = bytes:sub(at - length, at - 1) }
  end
  return list
end

-- The same shuffle on every machine.
local function shuffle(list)
  local state = 7
  for i = #list, 2, -1 do
    state = (state * 16807) % 2147483647
    local j = state % i + 1
    list[i], list[j] = list[j], list[i]
  end
end

--- A SentencePiece file whose ordinary pieces changed places: another tokenizer of the same size.
function folder_of.shuffled_pieces(bytes)
  local fields = fields_of(bytes)
  local places, ordinary = {}, {}
  for i, field in ipairs(fields) do
    -- submessage: piece (1), score (2), type (3, left out where it is NORMAL)
    if field.piece and not field.body:find "\24[\2\3\4\5\6]$" then
      places[#places + 1], ordinary[#ordinary + 1] = i, field
    end
  end
  shuffle(ordinary)
  for k, i in ipairs(places) do fields[i] = ordinary[k] end
  local out = {}
  for i, field in ipairs(fields) do out[i] = field.text end
  return table.concat(out)
end

--- A vocab.txt whose lines after the first `kept` changed places.
function folder_of.shuffled_lines(text, kept)
  local head, tail = {}, {}
  for line in text:gmatch "[^\n]+" do
    local into = #head < kept and head or tail
    into[#into + 1] = line
  end
  shuffle(tail)
  return table.concat(head, "\n") .. "\n" .. table.concat(tail, "\n") .. "\n"
end

--- Removes everything that was made.
function folder_of.remove_all()
  for _, path in ipairs(made) do os.execute(("rm -rf '%s'"):format(path)) end
  made = {}
end

return folder_of
