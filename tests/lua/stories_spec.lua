-- Published small weights: the 260K-parameter storyteller of llama2.c, converted here, tells its
-- published tale; a tiny random GPT-2 gives its published greedy and beam ids.
local ffi = require "ffi"
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"

local data = "../shared/data/weights/"

-- llama2.c turns neighbouring pairs of a head, the published layout halves: rows (2i, 2i + 1) of a
-- head become (i, i + half).
local function halves(rows, heads, head_dim)
  local out = {}
  for h = 0, heads - 1 do
    for i = 0, head_dim / 2 - 1 do
      out[h * head_dim + i + 1] = rows[h * head_dim + 2 * i + 1]
      out[h * head_dim + head_dim / 2 + i + 1] = rows[h * head_dim + 2 * i + 2]
    end
  end
  return out
end

local function reader(bytes)
  local at = 0
  local function numbers(kind, count)
    local p = ffi.cast(kind .. " const*", ffi.cast("char const*", bytes) + at)
    local list = {}
    for i = 1, count do list[i] = tonumber(p[i - 1]) end
    at = at + 4 * count
    return list
  end
  local r = {}
  function r.integers(count) return numbers("int32_t", count) end
  function r.floats(count) return numbers("float", count) end
  function r.text(count)
    at = at + count
    return bytes:sub(at - count + 1, at)
  end
  function r.matrix(rows, columns)
    local list = {}
    for i = 1, rows do list[i] = r.floats(columns) end
    return list
  end
  return r
end

local function convert(path, folder)
  local r = reader(core.read_file(path))
  local h = r.integers(7)
  local dim, ffn, layers, heads, kv_heads, vocab, positions = unpack(h)
  local head_dim = dim / heads
  local weights = { ["model.embed_tokens.weight"] = r.matrix(vocab, dim) }
  local function each(name, rows, columns, change)
    for i = 0, layers - 1 do
      local value = rows and r.matrix(rows, columns) or r.floats(columns)
      weights["model.layers." .. i .. "." .. name .. ".weight"] = change and change(value) or value
    end
  end
  each("input_layernorm", nil, dim)
  each("self_attn.q_proj", dim, dim, function(w) return halves(w, heads, head_dim) end)
  each("self_attn.k_proj", kv_heads * head_dim, dim, function(w) return halves(w, kv_heads, head_dim) end)
  each("self_attn.v_proj", kv_heads * head_dim, dim)
  each("self_attn.o_proj", dim, dim)
  each("post_attention_layernorm", nil, dim)
  each("mlp.gate_proj", ffn, dim)
  each("mlp.down_proj", dim, ffn)
  each("mlp.up_proj", ffn, dim)
  weights["model.norm.weight"] = r.floats(dim)
  for name, value in pairs(weights) do
    weights[name] = pl.tensor(value, { dtype = "f32", axes = type(value[1]) == "table" and { "out", "in" } or { "out" } })
  end
  pl.save(folder .. "/model.safetensors", weights)
  core.write_file(folder .. "/config.json", core.write_json({ model_type = "llama", architectures = core.array { "LlamaForCausalLM" },
    hidden_size = dim, intermediate_size = ffn, num_hidden_layers = layers, num_attention_heads = heads,
    num_key_value_heads = kv_heads, vocab_size = vocab, max_position_embeddings = positions, rms_norm_eps = 1e-5,
    rope_theta = 10000.0, tie_word_embeddings = true, bos_token_id = 1, eos_token_id = 2 }, 1))
  return vocab
end

local function pieces(path, count)
  local r = reader(core.read_file(path))
  local list = {}
  r.integers(1)
  for id = 0, count - 1 do
    r.floats(1)
    list[id] = r.text(r.integers(1)[1])
  end
  return list
end

t.test("stories260K tells its published tale", function()
  local from = data .. "stories260K/"
  if not core.file_exists(from .. "stories260K.bin") then return t.skip("no " .. from) end
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("mkdir '%s'"):format(folder)) == 0)
  local list = pieces(from .. "tok512.bin", convert(from .. "stories260K.bin", folder))
  local m = pl.load(folder)
  local r = m:generate({ 1 }, { do_sample = false, max_new_tokens = 200, eos_token_id = 1 })
  local words = {}
  for i, id in ipairs(r.ids) do
    local piece = list[id]:gsub("^<0x(%x%x)>$", function(hex) return string.char(tonumber(hex, 16)) end)
    words[i] = i == 1 and piece:gsub("^ ", "") or piece
  end
  local expected = core.read_file(from .. "expected-greedy-200.txt"):gsub("\n$", "")
  local text = table.concat(words):gsub("\n$", "")
  t.equal(text:sub(1, #expected), expected)
  os.execute(("rm -r '%s'"):format(folder))
end)

t.test("tiny-random-gpt2 gives its published ids", function()
  local folder = data .. "tiny-random-gpt2"
  if not core.file_exists(folder .. "/config.json") then return t.skip("no " .. folder) end
  local m = pl.load(folder)
  local expected = core.read_json(folder .. "/expected.json")
  for _, kind in ipairs { "greedy", "beam" } do
    local set = expected[kind]
    local results = m:generate(set.input_ids, { do_sample = false, num_beams = set.num_beams, max_length = set.max_length,
      length_penalty = set.length_penalty, eos_token_id = 98 })
    for i, r in ipairs(results) do
      local all = {}
      for _, id in ipairs(set.input_ids[i]) do all[#all + 1] = id end
      for _, id in ipairs(r.ids) do all[#all + 1] = id end
      t.equal(all, set.expected[i], kind .. " " .. i)
    end
  end
end)
