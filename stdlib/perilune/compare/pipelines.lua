-- Answers of published pipelines held against ours: rows of task, model, input, options and output.
local pl = require "perilune"

local compare_pipelines = {}

local tolerance = 1e-4

local function off(what, ours, theirs)
  return ("%s: got %s, expected %s"):format(what, tostring(ours), tostring(theirs))
end

local function near(what, ours, theirs, limit)
  if type(ours) == "number" and math.abs(ours - theirs) <= (limit or tolerance) then return nil end
  return off(what, ours, theirs)
end

-- Their offsets count code points from 0, half open; ours are bytes from 1, inclusive.
local function code_points(text, bytes)
  local count = 0
  for _ in text:sub(1, bytes):gmatch "[^\128-\191]" do count = count + 1 end
  return count
end

local function as_list(value) return value[1] == nil and { value } or value end

local function entries(what, ours, theirs, check)
  if #ours ~= #theirs then return off("number of " .. what, #ours, #theirs) end
  for i, want in ipairs(theirs) do
    local problem = check(ours[i], want)
    if problem then return ("%s %d: %s"):format(what, i, problem) end
  end
end

local checks = {}

checks["text-classification"] = function(ours, row)
  return entries("labels", as_list(ours), as_list(row.output), function(a, b)
    return a.label ~= b.label and off("label", a.label, b.label) or near("score", a.score, b.score)
  end)
end

checks["token-classification"] = function(ours, row)
  return entries("entities", ours, row.output, function(a, b)
    local label = b.entity_group or b.entity
    local first, last = code_points(row.input, a.first - 1), code_points(row.input, a.last)
    return a.label ~= label and off("label", a.label, label) or a.word ~= b.word and off("word", a.word, b.word)
      or near("score", a.score, b.score) or first ~= b.start and off("start", first, b.start)
      or last ~= b["end"] and off("end", last, b["end"]) or nil
  end)
end

checks["question-answering"] = function(ours, row)
  local context = row.input.context
  return entries("answers", as_list(ours), as_list(row.output), function(a, b)
    local first, last = code_points(context, a.first - 1), code_points(context, a.last)
    return near("score", a.score, b.score) or a.answer ~= b.answer and off("answer", a.answer, b.answer)
      or first ~= b.start and off("start", first, b.start) or last ~= b["end"] and off("end", last, b["end"]) or nil
  end)
end

-- The published version decodes the new tokens alone, which loses the space between prompt and answer.
local function trimmed(text) return (text:gsub("^%s+", "")) end

checks["text-generation"] = function(ours, row)
  local theirs = row.output[1].generated_text:sub(#row.input + 1)
  return trimmed(ours.text) ~= trimmed(theirs) and off("text", ours.text, theirs) or nil
end

checks["text2text-generation"] = function(ours, row)
  local theirs = row.output[1].generated_text
  return ours.text ~= theirs and off("text", ours.text, theirs) or nil
end

-- One mask gives a list, several a list of lists.
checks["fill-mask"] = function(ours, row)
  if row.output[1] and row.output[1].token == nil then
    return entries("masks", ours, row.output, function(a, b) return checks["fill-mask"](a, { output = b }) end)
  end
  return entries("fillings", ours, row.output, function(a, b)
    return a.id ~= b.token and off("token", a.id, b.token) or a.piece ~= b.token_str and off("token_str", a.piece, b.token_str)
      or near("score", a.score, b.score) or a.text ~= b.sequence and off("sequence", a.text, b.sequence) or nil
  end)
end

checks["zero-shot-classification"] = function(ours, row)
  return entries("labels", ours.labels, row.output.labels, function(a, b) return a ~= b and off("label", a, b) or nil end)
    or entries("scores", ours.scores, row.output.scores, function(a, b) return near("score", a, b) end)
end

checks["feature-extraction"] = function(ours, row)
  local theirs, mine = row.output[1], ours:tolist()
  return entries("tokens", mine, theirs, function(a, b)
    for i = 1, #b do
      local problem = near("feature " .. i, a[i], b[i], tolerance * math.max(1, math.abs(b[i])))
      if problem then return problem end
    end
  end)
end

-- Options of the published pipeline that ours spells otherwise.
local function options_of(row)
  local o = {}
  for key, value in pairs(row.options) do o[key] = value end
  -- A null top_k means all of them.
  if row.task == "text-classification" and #row.output > 1 and not o.top_k then o.top_k = "all" end
  if row.task == "feature-extraction" then o.pooling = "none" end
  if row.task == "zero-shot-classification" then o.truncate = "model" end
  if row.task == "question-answering" then o.stride, o.doc_stride = o.doc_stride, nil end
  return o
end

local function input_of(row)
  if type(row.input) ~= "table" or not row.input.text_pair then return row.input end
  return { text = row.input.text, pair = row.input.text_pair }
end

--- A function that checks one row; models are loaded once.
---@param folder string where model folders are
---@return fun(row: table): string|nil
function compare_pipelines.check(folder)
  local models = {}
  return function(row)
    local check = checks[row.task]
    if not check then return "there is no comparison for the task " .. tostring(row.task) end
    models[row.model] = models[row.model] or pl.load(folder .. "/" .. row.model, { compute = "f32" })
    return check(pl.pipeline(row.task, models[row.model], options_of(row))(input_of(row)), row)
  end
end

return compare_pipelines
