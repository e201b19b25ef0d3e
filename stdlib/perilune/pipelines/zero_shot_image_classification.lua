-- zero-shot-image-classification: which of some labels fits a picture, by a model that puts texts and pictures in
-- one space. → { labels=, scores= }, best first.
local picture_rows = require "perilune.pipelines.picture_rows"
local embed = require "perilune.run.embed"
local pair = require "perilune.run.pair"
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local rows = require "perilune.pipelines.rows"

local task = {
  heads = { "base" }, head = "base", pictures = true,
  spec = { candidate_labels = "table|string", hypothesis_template = "string" },
}

function task.prepare(p)
  local family = rawget(p.model, "state_").family
  if not (family.encode_text and family.encode_image) then
    raise("argument", p.task, ("a %s model does not read texts and pictures"):format(family.name), "this task needs a model such as CLIP")
  end
  if not p.tokenizer then raise("argument", p.task, "the labels need a tokenizer: " .. tostring(p.model.tokenizer_reason), "load it with tokenizer=") end
  p.vectors_ = {}   -- of labels, by text: most inputs share theirs
end

local function labels_of(p, input)
  local labels = type(input) == "table" and input.candidate_labels or p.options.candidate_labels
  if type(labels) == "string" then
    local list = {}
    for part in labels:gmatch "[^,]+" do
      local label = part:match "^%s*(.-)%s*$"
      if label ~= "" then list[#list + 1] = label end
    end
    labels = list
  end
  if type(labels) ~= "table" or #labels == 0 then
    raise("option", p.task, "option candidate_labels: expected a list of labels, got " .. options.show(labels))
  end
  return labels
end

-- The labels' texts as vectors of length 1, [text, hidden].
local function vectors(p, labels)
  local template = p.options.hypothesis_template or "This is a photo of {}."
  if not template:find("{}", 1, true) then raise("option", p.task, "option hypothesis_template: no {} in " .. options.show(template)) end
  local texts = {}
  for i, label in ipairs(labels) do texts[i] = (template:gsub("{}", (tostring(label):gsub("%%", "%%%%")))) end
  local key = table.concat(texts, "\0")
  if not p.vectors_[key] then
    p.vectors_ = { [key] = embed.embed(p.model, texts, { pooling = "pooled", normalize = true }):rename { batch = "text" } }
  end
  return p.vectors_[key]
end

function task.begin(p, input)
  local labels, given = labels_of(p, input), input
  if type(input) == "table" and input.candidate_labels then given = { image = input.image, pixels = input.pixels } end
  local job = picture_rows.job(p, given)
  job.labels, job.texts = labels, vectors(p, labels)
  return job
end

function task.finish(p, _, job)
  local x = job.results[1].outputs.pooled:detach()
  local logits = pair.logits(p.model, (x / x:norm "hidden"):rename { batch = "image" }, job.texts):tolist()[1]
  local sigmoid = rawget(p.model, "state_").c.sigmoid   -- SigLIP's labels are judged each by itself
  local scores, out = (sigmoid and rows.sigmoid or rows.softmax)(logits), { labels = {}, scores = {} }
  for i, at in ipairs(rows.order(scores)) do out.labels[i], out.scores[i] = job.labels[at], scores[at] end
  return out
end

return task
