-- image-feature-extraction: a vector for a picture; pooling="none" gives every patch's.
local picture_rows = require "perilune.pipelines.picture_rows"
local embed = require "perilune.run.embed"

local task = {
  heads = { "base" }, head = "base", direct = true, pictures = true,
  spec = { pooling = { "mean", "cls", "last", "max", "pooled", "none" }, normalize = "boolean" },
}

function task.begin(p, input) return { rows = {}, batch = picture_rows.batch(p, input) } end

function task.finish(p, _, job)
  if p.options.pooling == "none" then
    local x = p.model:forward(job.batch, { outputs = { "last_hidden_state" } }).last_hidden_state:detach()
    return p.options.normalize and x / x:norm "hidden" or x
  end
  return embed.embed(p.model, job.batch, { pooling = p.options.pooling, normalize = p.options.normalize }):at { batch = 1 }
end

return task
