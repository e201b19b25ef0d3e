-- guidance_scale: what the prompt asks for is said louder (classifier-free guidance; Sanchez et al. 2023, arXiv:2306.17806).
-- Every token's scores are held against those of the same answer without the prompt, or after a negative one.
local raise = require "perilune.base.raise"
local forward = require "perilune.run.forward"
local beside = require "perilune.serve.beside"
local inputs = require "perilune.run.inputs"

local guidance = {}

-- What the answer follows where the prompt is left out: the negative prompt, or as published the prompt's last id alone.
local function beginning(m, prompt, negative, op)
  if negative == nil then return { prompt[#prompt] } end
  if type(negative) == "string" then negative = inputs.tokenizer(m, op):ids(negative) end
  if #negative == 0 then raise("option", op, "option negative_prompt: it has no tokens") end
  inputs.check_ids(m, { negative }, op)
  return negative
end

-- The scores of what follows a text, of which a cache holds what both begin with.
local function next_scores(m, held, text, adapter)
  local same = 0
  while same < #held.ids and same < #text - 1 and held.ids[same + 1] == text[same + 1] do same = same + 1 end
  if not pcall(held.cache.crop, held.cache, same) then   -- behind what a sliding window kept
    held.cache, same = m:cache(), 0
  end
  local rest = {}
  for i = same + 1, #text do rest[#rest + 1] = text[i] end
  held.ids = text
  local results = forward.compute(m, { rest }, { cache = held.cache, adapter = adapter }, "guidance_scale", { main = {} })
  return results.logits:at { batch = 1 }:detach()
end

--- What writes over a request's scores before all rules: scale * (scores - without) + without, both as log-probabilities.
---@param m Model
---@param scale number
---@param prompt integer[]
---@param o table options of the request: negative_prompt, adapter
---@param op string
---@return fun(row: Tensor, state: table): Tensor
function guidance.guide(m, scale, prompt, o, op)
  local first = beginning(m, prompt, o.negative_prompt, op)
  local texts = setmetatable({}, { __mode = "k" })   -- by state: one for each output
  return function(row, state)
    local held = texts[state] or beside.hold(state.request, { cache = m:cache(), ids = {} })
    texts[state] = held
    local text = {}
    for i, id in ipairs(first) do text[i] = id end
    for i = state.prompt_tokens + 1, #state.ids do text[#text + 1] = state.ids[i] end
    local without = next_scores(m, held, text, o.adapter):log_softmax "vocab"
    return (row:log_softmax "vocab" - without) * scale + without
  end
end

return guidance
