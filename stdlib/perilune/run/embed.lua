-- m:embed: one vector a text, pooled from the last hidden states, by default as the model's own
-- modules.json says (the layout of sentence-transformers).
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local runtime = require "perilune.loaded.pass_runner"
local forward = require "perilune.run.forward"
local inputs = require "perilune.run.inputs"

local embed = {}

-- What 1_Pooling/config.json may ask for.
local modes = {
  pooling_mode_mean_tokens = "mean", pooling_mode_cls_token = "cls", pooling_mode_max_tokens = "max",
  pooling_mode_lasttoken = "last",
}

local function read_pooling(path)
  local json, chosen = core.read_json(path .. "/config.json"), nil
  for key, value in pairs(json) do
    if key:match "^pooling_mode_" and value == true then
      if not modes[key] or chosen then
        raise("unsupported", "embed", ("%s/config.json: %s is not supported"):format(path, key), "give pooling= yourself")
      end
      chosen = modes[key]
    end
  end
  return chosen
end

--- The recipe that a model's modules.json gives: { pooling=, normalize= }; empty without one.
---@param folder string
---@return table
function embed.recipe(folder)
  local recipe, file = {}, folder .. "/modules.json"
  if not core.file_exists(file) then return recipe end
  for _, module in ipairs(core.read_json(file)) do
    local kind, path = tostring(module.type):match "([%w_]+)$", module.path or ""
    if type(path) ~= "string" or path:find("..", 1, true) or path:sub(1, 1) == "/" then
      raise("format", "embed", "modules.json: a path outside the folder: " .. options.show(path))
    end
    if kind == "Pooling" then
      recipe.pooling = read_pooling(folder .. "/" .. path)
    elseif kind == "Normalize" then
      recipe.normalize = true
    elseif kind ~= "Transformer" then
      raise("unsupported", "embed", "modules.json: module " .. options.show(module.type) .. " is not supported",
        "give pooling= and normalize= to go without it")
    end
  end
  return recipe
end

local function recipe_of(s)
  if not s.embedding_recipe then s.embedding_recipe = embed.recipe(s.path) end
  return s.embedding_recipe
end

local function largest(batch, x)
  local rows = batch:split(x)
  for i, row in ipairs(rows) do rows[i] = row:max "token" end
  return core.stack(rows, "batch")
end

local pool = {
  mean = function(batch, x) return batch:mean(x) end,
  cls = function(batch, x) return batch:first(x) end,
  last = function(batch, x) return batch:last(x) end,
  max = largest,
}
pool.first = pool.cls

--- One vector a text, from the last hidden states (an encoder-decoder's: of its encoder).
---@param m Model
---@param texts any as forward takes it
---@param opts table|nil { pooling="mean"|"cls"|"last"|"max"|"pooled", normalize= } (default: modules.json, else mean)
---@return Tensor [batch, hidden]
function embed.embed(m, texts, opts)
  local s = runtime.open(m, "embed")
  local o = options.check(opts, { pooling = { "mean", "cls", "first", "last", "max", "pooled" }, normalize = "boolean" }, "embed")
  local recipe = (o.pooling == nil or o.normalize == nil) and recipe_of(s) or {}
  local pooling = o.pooling or recipe.pooling or "mean"
  local normalize = o.normalize
  if normalize == nil then normalize = recipe.normalize end
  local both = s.family.encode and s.family.decode   -- the encoder's states are the text's
  local output = pooling == "pooled" and "pooled" or both and "encoder_last" or "last_hidden_state"
  local batch = inputs.read(m, texts, "embed", both and s.c.max_source or not both and s.c.max_tokens or nil)   -- ragged now
  local out = forward.forward(m, batch, { outputs = { output }, decoder = both and { s.c.decoder_start or 0 } or nil })
  local x = out[output]
  if pooling ~= "pooled" then x = pool[pooling](batch, x) end
  return normalize and x / x:norm "hidden" or x
end

return embed
