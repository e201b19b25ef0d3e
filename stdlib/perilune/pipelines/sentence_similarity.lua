-- sentence-similarity: cosines between one sentence and others, { source=, sentences={ … } } → numbers.
local embed = require "perilune.run.embed"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "base" }, head = "base", direct = true,
  spec = rows.with { pooling = { "mean", "cls", "last", "max", "mean_sqrt", "weighted_mean", "pooled" }, join = { "mean", "max" } },
}

function task.prepare(p) p.limit_, p.limit_source_ = embed.limit(p.model) end

function task.begin(p, input)
  local good = type(input) == "table" and type(input.source) == "string" and type(input.sentences) == "table" and #input.sentences > 0
  if not good then raise("argument", p.task, "expected { source=, sentences={ … } }, got " .. options.show(input)) end
  local batches = { rows.encode(p, rows.text(input.source, p.task)) }
  for i, sentence in ipairs(input.sentences) do batches[i + 1] = rows.encode(p, rows.text(sentence, p.task)) end
  return { rows = {}, batches = batches }
end

function task.finish(p, _, job)
  local function vector(batch)
    return embed.joined(p.model, batch, { pooling = p.options.pooling, normalize = true, join = p.options.join }):at { batch = 1 }
  end
  local source, cosines = vector(job.batches[1]), {}
  for i = 2, #job.batches do cosines[i - 1] = (source * vector(job.batches[i])):sum() end
  return cosines
end

return task
