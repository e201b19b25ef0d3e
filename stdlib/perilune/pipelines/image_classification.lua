-- image-classification: the head's scores of a picture as probabilities of labels, best first; top_k of them.
local picture_rows = require "perilune.pipelines.picture_rows"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "sequence" }, pictures = true,
  spec = { top_k = "positive", function_to_apply = { "softmax", "sigmoid", "none" } },
}

local apply = { softmax = rows.softmax, sigmoid = rows.sigmoid, none = function(scores) return scores end }
local best = 5   -- as published

task.begin = picture_rows.job

function task.finish(p, _, job)
  local scores = apply[p.options.function_to_apply or "softmax"](job.results[1].outputs.logits:tolist()[1])
  local list = {}
  for i, at in ipairs(rows.order(scores)) do
    if i > (p.options.top_k or best) then break end
    list[i] = { label = p.model:label(at - 1), score = scores[at] }
  end
  return list
end

return task
