-- zero-shot-classification: a model of entailment asked, label by label, whether a hypothesis follows
-- from the text. → { labels=, scores= }, best first.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "sequence" },
  spec = { truncate = rows.spec.truncate, candidate_labels = "table", hypothesis_template = "string", multi_label = "boolean" },
}

function task.prepare(p)
  for id, name in pairs(p.model.labels or {}) do
    if name:lower():sub(1, 6) == "entail" then p.entailment_ = id end
  end
  if not p.entailment_ then
    raise("argument", p.task, "the model has no label that begins with \"entail\"", "this task needs a model of natural language inference")
  end
  p.contradiction_ = p.entailment_ == 0 and #p.model.labels or 0   -- as published: the last label, or the first
end

local function labels_of(p, input)
  local labels = type(input) == "table" and input.candidate_labels or p.options.candidate_labels
  if type(labels) ~= "table" or #labels == 0 then
    raise("option", p.task, "option candidate_labels: expected a list of labels, got " .. options.show(labels))
  end
  return labels
end

function task.begin(p, input)
  local text = type(input) == "table" and input.text or input
  if type(text) ~= "string" then raise("argument", p.task, "expected a text, got " .. options.show(input)) end
  local template = p.options.hypothesis_template or "This example is {}."
  if not template:find("{}", 1, true) then
    raise("option", p.task, "option hypothesis_template: no {} in " .. options.show(template))
  end
  local job = { rows = {}, labels = labels_of(p, input) }
  for i, label in ipairs(job.labels) do
    local hypothesis = template:gsub("{}", (tostring(label):gsub("%%", "%%%%")))
    job.rows[i] = { input = rows.encode(p, { text = text, pair = hypothesis }, { strategy = "only_first" }) }
  end
  return job
end

function task.finish(p, _, job)
  local entailed, scores = {}, {}
  for i, result in ipairs(job.results) do
    local logits = result.outputs.logits:tolist()[1]
    entailed[i] = logits[p.entailment_ + 1]
    scores[i] = rows.softmax { logits[p.contradiction_ + 1], entailed[i] }[2]
  end
  if not (p.options.multi_label or #job.labels == 1) then scores = rows.softmax(entailed) end
  local out = { labels = {}, scores = {} }
  for i, at in ipairs(rows.order(scores)) do out.labels[i], out.scores[i] = job.labels[at], scores[at] end
  return out
end

return task
