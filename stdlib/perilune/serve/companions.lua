-- What an answer's tokens are chosen with beside its own scores: the same answer without the prompt (guidance_scale), or
-- candidates for the next token (penalty_alpha). Both are rows of the engine's steps.
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local pass_runner = require "perilune.loaded.pass_runner"
local forward = require "perilune.run.forward"
local inputs = require "perilune.run.inputs"

local companions = {}

-- What stands where the prompt is left out: the negative prompt, or as published the prompt's last id alone.
local function without_prompt(m, prompt, negative, op)
  if negative == nil then return { prompt[#prompt] } end
  if type(negative) == "string" then negative = inputs.tokenizer(m, op):ids(negative) end
  if #negative == 0 then raise("option", op, "option negative_prompt: it has no tokens") end
  inputs.check_ids(m, { negative }, op)
  return negative
end

--- Adds what core's engine takes for guidance_scale and penalty_alpha.
---@param m Model
---@param request table of generation.request: ids, source (ids), guidance_scale, contrastive
---@param given table the caller's options: negative_prompt
---@param op string
function companions.add(m, request, given, op)
  local s, compared = rawget(m, "state_"), request.contrastive
  request.contrastive = nil
  if request.guidance_scale then
    local other = without_prompt(m, request.source or request.ids, given.negative_prompt, op)
    if request.source then
      inputs.check_lengths(m, { #other }, s.c.max_source, op, "negative prompt")
      request.negative_source = core.batch { other }
    else
      request.negative_ids = other
    end
  end
  if not compared then return end
  request.penalty_alpha, request.candidates = compared.alpha, compared.top_k
  request.hidden_path = forward.last_hidden_path(m)
  request.hidden_plan = pass_runner.plan(s, "decode", { request.hidden_path })
end

return companions
