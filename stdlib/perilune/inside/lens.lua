-- m:lens: what each layer would say if it were the last (the logit lens): its residual through the model's own head.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local columns = require "perilune.base.columns"
local terminal = require "perilune.show.terminal"
local family = require "perilune.loaded.family"
local pass_runner = require "perilune.loaded.pass_runner"
local inputs = require "perilune.run.inputs"
local pieces = require "perilune.inside.pieces"

local lens = {}

-- Residuals by path, and the path of the last, in whose place the others are put.
local function residual_paths(s)
  local prefix = family.two_part(s.family) and "decoder." or ""
  local list, present = {}, {}
  for _, path in ipairs((pass_runner.paths(s))) do present[path] = true end
  if present[prefix .. "embeddings"] then list[1] = prefix .. "embeddings" end
  local layer = 0
  while present[prefix .. "layers." .. layer] do
    list[#list + 1] = prefix .. "layers." .. layer
    layer = layer + 1
  end
  if layer == 0 then raise("unsupported", "lens", "this model names no layers", "its family marks them with net:mark") end
  return list
end

local function as_text(l)
  local rows = { { "", unpack(l.pieces) } }
  for _, layer in ipairs(l) do
    local row = { layer.path }
    for i, tokens in ipairs(layer.tokens) do row[i + 1] = ("%s %.2f"):format(tokens[1].piece, tokens[1].probability) end
    rows[#rows + 1] = row
  end
  return columns.blocks(rows, terminal.width())
end

-- The best tokens of each position.
local function best(m, logits, top)
  local axis = logits.shape[logits.rank].name
  local values, at = logits:softmax(axis):topk(top, axis)
  local out, probabilities, ids = {}, values:tolist(), at:tolist()
  for i in ipairs(ids) do
    out[i] = {}
    for k, id in ipairs(ids[i]) do out[i][k] = { id = id, piece = pieces.of(m, id), probability = probabilities[i][k] } end
  end
  return out
end

--- One text through every layer's residual and the head.
---@param m Model
---@param input any one text or row of ids
---@param opts table|nil
---@return table
function lens.of(m, input, opts)
  local s = pass_runner.open(m, "lens")
  local o = options.check(opts, { top = "positive", decoder = "table|Batch" }, "lens")
  if not family.per_token[s.head] then
    raise("unsupported", "lens", ("head %s says nothing for each token"):format(s.head), "the lens is for causal and masked heads")
  end
  local batch = inputs.read(m, input, "lens", s.c.max_tokens)
  if batch.size ~= 1 then raise("argument", "lens", ("one text at a time, got %d"):format(batch.size)) end
  local paths = residual_paths(s)
  local traced = m:trace(batch, paths, { rows = "all", decoder = o.decoder })
  local result, batch_of_logits = {}, nil
  for i, path in ipairs(paths) do
    local residual = traced[path]
    local hook = m:hook(paths[#paths], function() return residual end)
    local fine, answer = pcall(m.forward, m, batch, { rows = "all", decoder = o.decoder })
    hook:remove()
    if not fine then error(answer, 0) end
    result[i] = { path = path, tokens = best(m, answer.logits, o.top or 1) }
    batch_of_logits = answer.batch
  end
  result.pieces = pieces.of_row(m, batch_of_logits, #result[1].tokens)
  result.ids = batch_of_logits.has_ids and batch_of_logits.ids:tolist() or nil
  return setmetatable(result, { __tostring = as_text })
end

return lens
