-- feature-extraction: one vector a text, pooled as the model's modules.json says (else the mean), or
-- with pooling="none" one a token. A long text is read in windows (stride=), whose vectors are joined.
local raise = require "perilune.base.raise"
local embed = require "perilune.run.embed"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "base" }, head = "base", direct = true,
  spec = rows.with { pooling = { "mean", "cls", "last", "max", "mean_sqrt", "weighted_mean", "pooled", "none" }, normalize = "boolean",
    join = { "mean", "max" } },
}

function task.prepare(p)
  p.limit_, p.limit_source_ = embed.limit(p.model)
  if p.options.pooling == "none" and rows.windowed(p) then
    raise("option", p.task, 'option pooling: "none" gives a vector a token, and windows share tokens', "encode the windows yourself: tok:encode")
  end
end

function task.begin(p, input)
  return { rows = {}, batch = rows.encode(p, rows.text(input, p.task)) }
end

function task.finish(p, _, job)
  local o = p.options
  if o.pooling == "none" then
    return p.model:forward(job.batch, { outputs = { "last_hidden_state" } }).last_hidden_state
  end
  return embed.joined(p.model, job.batch, { pooling = o.pooling, normalize = o.normalize, join = o.join }):at { batch = 1 }
end

return task
