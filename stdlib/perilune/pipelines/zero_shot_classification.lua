-- zero-shot-classification: a model of entailment asked, label by label, whether a hypothesis follows
-- from the text. → { labels=, scores= }, best first. Of a long text's windows (stride=) each label has the mean
-- or the largest entailment (join=).
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "sequence" },
  spec = rows.with { candidate_labels = "table|string", hypothesis_template = "string", multi_label = "boolean", join = { "mean", "max" } },
}

function task.prepare(p)
  for id, name in pairs(p.model.labels or {}) do
    if name:lower():sub(1, 6) == "entail" then p.entailment_ = math.min(p.entailment_ or id, id) end
  end
  if not p.entailment_ then
    raise("argument", p.task, "the model has no label that begins with \"entail\"", "this task needs a model of natural language inference")
  end
  p.contradiction_ = p.entailment_ == 0 and #p.model.labels or 0   -- as published: the last label, or the first
end

-- A list, or a text with commas between the labels.
local function labels_of(p, input)
  local labels = type(input) == "table" and input.candidate_labels or p.options.candidate_labels
  if type(labels) == "string" then
    local list = {}
    for part in labels:gmatch "[^,]+" do list[#list + 1] = part:match "^%s*(.-)%s*$" end
    labels = {}
    for _, label in ipairs(list) do if label ~= "" then labels[#labels + 1] = label end end
  end
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
  local job = { rows = {}, label_of = {}, labels = labels_of(p, input) }
  for i, label in ipairs(job.labels) do
    local hypothesis = template:gsub("{}", (tostring(label):gsub("%%", "%%%%")))
    local batch = rows.encode(p, { text = text, pair = hypothesis }, "only_first")
    for w = 1, batch.size do
      local r = #job.rows + 1
      job.rows[r], job.label_of[r] = { input = batch:select { w } }, i
    end
  end
  return job
end

function task.finish(p, _, job)
  local windows, entailed, scores = {}, {}, {}
  for r, result in ipairs(job.results) do
    local logits, i = result.outputs.logits:tolist()[1], job.label_of[r]
    local yes, no = logits[p.entailment_ + 1], logits[p.contradiction_ + 1]
    windows[i] = windows[i] or {}
    table.insert(windows[i], { yes, rows.softmax({ no, yes })[2] })
  end
  for i, lists in ipairs(windows) do entailed[i], scores[i] = unpack(rows.join(p.options.join, lists)) end
  if not (p.options.multi_label or #job.labels == 1) then scores = rows.softmax(entailed) end
  local out = { labels = {}, scores = {} }
  local order = {}
  for i = 1, #scores do order[i] = i end
  table.sort(order, function(a, b)   -- of equal ones the later, as published
    if scores[a] ~= scores[b] then return scores[a] > scores[b] end
    return a > b
  end)
  for i, at in ipairs(order) do out.labels[i], out.scores[i] = job.labels[at], scores[at] end
  return out
end

return task
