-- Texts and pictures together: how well each fits each, as models of two towers publish it.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local kind = require "perilune.base.kind"
local pass_runner = require "perilune.loaded.pass_runner"

local pair = {}

--- Whether an input is of texts and pictures: { text= | ids=, image= | pixels= }.
---@param input any
---@return boolean
function pair.is(input)
  if type(input) ~= "table" or kind.of(input) then return false end
  return (input.image ~= nil or input.pixels ~= nil) and (input.text ~= nil or input.ids ~= nil)
end

-- A number that the checkpoint stores beside the towers.
local function stored_number(s, name)
  local sizes = s.checkpoint:sizes(name)
  if not sizes then return nil end
  local axes = {}
  for i = 1, #sizes do axes[i] = "axis" .. i end
  return s.checkpoint:copy(name, axes):sum()
end

--- exp(logit_scale) times the products of vectors of length 1, plus logit_bias where the model has one.
---@param m Model
---@param images Tensor [image, hidden]
---@param texts Tensor [text, hidden]
---@return Tensor [image, text]
function pair.logits(m, images, texts)
  local s = pass_runner.open(m, "forward")
  local scale, bias = stored_number(s, "logit_scale"), stored_number(s, "logit_bias")
  local logits = images:matmul(texts, { over = "hidden" })
  if scale then logits = logits * math.exp(scale) end
  return bias and logits + bias or logits
end

-- Projected vectors of length 1 over an axis of this name.
local function vectors(out, axis)
  local x = out.pooled:detach()
  return (x / x:norm "hidden"):rename { batch = axis }
end

--- m:forward of texts and pictures.
---@param m Model
---@param input table { text=|ids=, image=|pixels= }
---@param o table options of forward
---@param forward function m:forward, for each part
---@return table { logits_per_image= [image, text], logits_per_text= [text, image], image_embeds=, text_embeds=, image=, text= }
function pair.forward(m, input, o, forward)
  local s = pass_runner.open(m, "forward")
  if not (s.family.encode_text and s.family.encode_image) then
    raise("argument", "forward", ("a %s model does not read texts and pictures together"):format(s.family.name))
  end
  options.check(input, { text = "any", ids = "any", image = "any", pixels = "any" }, "forward")
  if input.text ~= nil and input.ids ~= nil then raise("argument", "forward", "text and ids contradict each other") end
  local given = input.text ~= nil and input.text or input.ids
  if type(given) == "string" or type(given) == "table" and type(given[1]) == "number" then given = { given } end
  local text = forward(m, given, o)
  local image = forward(m, { image = input.image, pixels = input.pixels }, o)
  local out = { text = text, image = image, text_embeds = vectors(text, "text"), image_embeds = vectors(image, "image") }
  out.logits_per_image = pair.logits(m, out.image_embeds, out.text_embeds)
  out.logits_per_text = out.logits_per_image:order("text", "image")
  return out
end

return pair
