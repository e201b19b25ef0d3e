--- Copies of golden models for specs of padding: the embedding of id 0 is NaN, heads that were tied to
--- it have their own weights, and heads that the file lacks are added, so that all of a family's can run.
local pl = require "perilune"
local core = require "perilune.core"
local family = require "perilune.loaded.family"
local folder_of = require "folder_of"

local planted = {}

local h, c, v = "hidden", "class", "vocab"
local function dense(path, out, inner) return { [path .. ".weight"] = { out, inner }, [path .. ".bias"] = { out } } end
local function norm(path) return { [path .. ".weight"] = { h }, [path .. ".bias"] = { h } } end

-- By family: tensors of its heads, added where the file has none, and what a tied head would store.
local heads = {
  bert = { dense("bert.pooler.dense", h, h), dense("classifier", c, h), dense("qa_outputs", 2, h),
    dense("cls.predictions.transform.dense", h, h), norm "cls.predictions.transform.LayerNorm", { ["cls.predictions.bias"] = { v } } },
  roberta = { dense("roberta.pooler.dense", h, h), dense("classifier.dense", h, h), dense("classifier.out_proj", c, h),
    dense("classifier", c, h), dense("qa_outputs", 2, h), dense("lm_head.dense", h, h), norm "lm_head.layer_norm", { ["lm_head.bias"] = { v } } },
  distilbert = { dense("pre_classifier", h, h), dense("classifier", c, h), dense("qa_outputs", 2, h), dense("vocab_transform", h, h),
    norm "vocab_layer_norm", { ["vocab_projector.bias"] = { v } } },
  bart = { dense("classification_head.dense", h, h), dense("classification_head.out_proj", c, h), dense("qa_outputs", 2, h) },
}
local own_head = { bert = "cls.predictions.decoder.weight", roberta = "lm_head.decoder.weight", distilbert = "vocab_projector.weight" }

--- Families whose head is always the embedding: its NaN is in their logits of id 0.
planted.always_tied = { bart = true }

local function sizes_of(sizes, axes)
  local list = {}
  for i, size in ipairs(sizes) do list[i] = axes[size] or size end
  return list
end

local function add_heads(tensors, t, axes)
  local seed = 0
  for _, group in ipairs(heads[t.name] or {}) do
    for name, sizes in pairs(group) do
      seed = seed + 1
      local list = sizes_of(sizes, { hidden = axes.hidden, vocab = axes.vocab, class = axes.class or 2 })
      if not tensors[name] then
        tensors[name] = pl.random(list, { seed = seed, axes = #list == 2 and { "out", "in" } or { "out" } }) * 0.3
      end
    end
  end
end

local function embedding_of(file, t)
  local wanted = t.embedding .. ".weight"
  for _, name in ipairs(file.names) do
    if name:sub(-#wanted) == wanted then return name end
  end
  return error("no embedding in " .. t.name)
end

--- A folder made from a golden one. `nan`: the embedding of id 0 is NaN.
---@return string folder
---@return table family
function planted.folder(golden, nan)
  local json = core.read_json(golden .. "/config.json")
  local t = family.choose(json)
  local axes = family.configure(t, json).axes
  local file, tensors = pl.open(golden .. "/model.safetensors"), {}
  for _, name in ipairs(file.names) do tensors[name] = file.tensor(name) end
  add_heads(tensors, t, axes)
  local embedding = embedding_of(file, t)
  if nan then
    local head = own_head[t.name] or "lm_head.weight"
    if not tensors[head] and not planted.always_tied[t.name] then tensors[head] = tensors[embedding]:copy() end
    local holed = tensors[embedding]:copy()
    holed:set(0 / 0, { [holed.shape[1].name] = 1 })
    tensors[embedding] = holed
  end
  local folder = folder_of.copy(golden, { ["model.safetensors"] = false })
  pl.save(folder .. "/model.safetensors", tensors)
  return folder, t
end

return planted
