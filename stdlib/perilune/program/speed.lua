-- How fast a loaded model is: tokens of prompts and of answers a second; of encoders, texts a second.
local core = require "perilune.core"

local speed = {}

local batch_texts = 32   -- that an encoder gets in one call

--- The middle of a list, which is sorted; nothing of an empty one.
---@param list number[]
---@return number|nil
function speed.median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end

--- Ids that the model knows, the same on every run.
---@param m Model
---@param length integer
---@return integer[]
function speed.prompt_ids(m, length)
  local ids = {}
  for i = 1, length do ids[i] = (i * 7919) % math.min(m.vocab_size, 1000) end
  return ids
end

--- Whether a model continues texts.
---@param m Model
---@return boolean
function speed.generates(m) return m.head == "causal" or m.head == "seq2seq" end

--- Rates of generating: medians of `repeats` runs after one that warms up.
---@param m Model
---@param prompt integer[]
---@param new integer tokens
---@param repeats integer
---@return number prefill tokens a second
---@return number|nil decode tokens a second; nil where there is one new token, which is prefill's
function speed.generator(m, prompt, new, repeats)
  local prefill, decode = {}, {}
  for r = 1, repeats + 1 do
    local result = m:generate({ ids = prompt, max_new_tokens = new, min_new_tokens = new, do_sample = false, reuse = false })
    if r > 1 then
      prefill[#prefill + 1] = #prompt / (result.timings.prefill_ms / 1000)
      if #result.ids > 1 then decode[#decode + 1] = (#result.ids - 1) / (result.timings.decode_ms / 1000) end   -- prefill gives the first
    end
  end
  return speed.median(prefill), speed.median(decode)
end

--- Rates of an encoder: texts of `length` tokens, 32 in a call.
---@param m Model
---@param length integer tokens of a text
---@param repeats integer
---@return number texts a second
---@return number tokens a second
function speed.encoder(m, length, repeats)
  local rows, rates = {}, {}
  local ids = speed.prompt_ids(m, length)
  for i = 1, batch_texts do rows[i] = ids end
  for r = 1, repeats + 1 do
    local started = core.clock()
    m:forward(rows)
    if r > 1 then rates[#rates + 1] = batch_texts / (core.clock() - started) end
  end
  local rate = speed.median(rates)
  return rate, rate * length
end

--- Whether a model reads pictures and no texts.
---@param m Model
---@return boolean
function speed.sees(m) return m.vocab_size == 0 end

--- Rates of a model of pictures, a few in a call; preparing them is not counted.
---@param m Model
---@param repeats integer
---@return number pictures a second
---@return number patches a second
function speed.pictures(m, repeats)
  local c, count = rawget(m, "state_").c, 8
  local pixels = core.zeros({ count, c.axes.channel, c.axes.height, c.axes.width }, { axes = { "batch", "channel", "height", "width" } })
  local rates = {}
  for r = 1, repeats + 1 do
    local started = core.clock()
    m:forward { pixels = pixels }
    if r > 1 then rates[#rates + 1] = count / (core.clock() - started) end
  end
  local rate = speed.median(rates)
  return rate, rate * (c.picture_tokens or 1)
end

return speed
