-- What the specs of generation share: tiny models, rows of ids, and what an answer is to the bit.
local pl = require "perilune"
local t = require "spec"

local rows = {}

--- A golden model in f32, on one thread, without a tokenizer.
---@param name string
---@return Model
function rows.load(name) return pl.load(t.golden(name), { compute = "f32", threads = 1, tokenizer = false }) end

--- n ids that hang on a seed, which rarely repeat.
---@param seed integer
---@param n integer
---@return integer[]
function rows.ids(seed, n)
  local row = {}
  for i = 1, n do row[i] = (seed * 31 + i * 13) % 90 + 5 end
  return row
end

--- Lists one after the other.
---@return integer[]
function rows.joined(...)
  local all = {}
  for _, part in ipairs { ... } do for _, id in ipairs(part) do all[#all + 1] = id end end
  return all
end

--- Whole numbers from 1 to n, the same ones for one seed.
---@param seed integer
---@return fun(n: integer): integer
function rows.random(seed)
  local state = seed
  return function(n)
    state = (state * 16807) % 2147483647
    return state % n + 1
  end
end

--- All of a result that must not change.
---@param r table
---@return table
function rows.answer(r)
  local all
  for i, s in ipairs(r.sequences or {}) do
    all = all or {}
    all[i] = { s.ids, s.score, s.finish_reason }
  end
  return all or { r.ids, r.text, r.logprobs, r.top_logprobs, r.prompt_logprobs, r.finish_reason, r.stop, r.error }
end

--- What a prompt is answered with nothing to go on from.
---@param m Model
---@param prompt integer[]
---@param options table
---@return table
function rows.alone(m, prompt, options) return rows.answer(m:generate({ ids = prompt }, t.with(options, { reuse = false }))) end

return rows
