-- text-classification: the head's scores of a text or a pair as probabilities of labels. A long text is read
-- in windows that share `stride` tokens, and `join` says how their probabilities become one.
local options = require "perilune.base.options"
local raise = require "perilune.base.raise"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "sequence" }, head = nil,
  spec = rows.with { top_k = "positive|string", function_to_apply = { "softmax", "sigmoid", "none" }, join = { "mean", "max", "vote" } },
}

local apply = { softmax = rows.softmax, sigmoid = rows.sigmoid, none = function(scores) return scores end }

-- As published: one label or several at once are scored each by itself, a regression not at all.
local function default_function(p)
  local problem, labels = p.model.config.problem_type, 0
  for _ in pairs(p.model.labels or {}) do labels = labels + 1 end
  if problem == "regression" then return "none" end
  return (problem == "multi_label_classification" or labels == 1) and "sigmoid" or "softmax"
end

function task.begin(p, input) return rows.windows(rows.encode(p, rows.text(input, p.task), type(input) == "table" and input.pair and "only_second" or nil)) end

function task.finish(p, _, job)
  local top = p.options.top_k
  if type(top) == "string" and top ~= "all" then
    raise("option", p.task, 'option top_k: expected a number or "all", got ' .. options.show(top))
  end
  local f, lists, list = apply[p.options.function_to_apply or default_function(p)], {}, {}
  for i, result in ipairs(job.results) do lists[i] = f(result.outputs.logits:tolist()[1]) end
  local scores = rows.join(p.options.join, lists)
  for _, at in ipairs(rows.order(scores)) do
    list[#list + 1] = { label = p.model:label(at - 1), score = scores[at] }
    if #list == top then break end
  end
  return top and list or list[1]
end

return task
