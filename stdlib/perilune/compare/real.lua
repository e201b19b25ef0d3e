-- What published real models answered, held against this build: real/*.json beside a safetensors file
-- of the same name. `load` in the file is what pl.load takes.
local pl = require "perilune"
local core = require "perilune.core"
local reference = require "perilune.compare.reference"
local compare_text = require "perilune.compare.text"
local compare_sound = require "perilune.compare.sound"

local compare_real = {}

-- Log-probabilities of weights that were rounded to a few bits agree this well in float32.
local logit_tolerance, cosine_tolerance = 1e-3, 1e-5

local function ids_line(report, name, m, text, theirs)
  if not m.tokenizer then return report.line("real", name, "OFF", m.tokenizer_reason) end
  local problem = compare_text.list_problem("ids", m.tokenizer:ids(text), theirs)
  report.line("real", name, problem and "OFF" or "ok", problem or #theirs .. " ids equal")
end

-- Greedy tokens: equal, or a tie by our own scores.
local function greedy_line(report, name, m, ids, theirs, text)
  local r = m:generate({ ids }, { do_sample = false, max_new_tokens = #theirs })[1]
  local function score(prefix, id)
    local all = {}
    for _, v in ipairs(ids) do all[#all + 1] = v end
    for _, v in ipairs(prefix) do all[#all + 1] = v end
    return m:forward({ all }, { rows = "last" }).logits:at { batch = 1, vocab = id }:item()
  end
  local ok, what = reference.compare_greedy(r.ids, theirs, score)
  report.line("real", name, ok and "ok" or "OFF", what .. (text and (": %q"):format(r.text:sub(1, 60)) or ""))
end

local function token_logprobs(m, ids)
  return reference.token_logprobs(m:forward({ ids }, { rows = "all" }).logits:tolist(), ids)
end

local function close(report, name, what, difference, tolerance)
  report.line("real", name, difference <= tolerance and "ok" or "OFF", ("%s largest difference %.2e"):format(what, difference))
end

local function largest_gap(ours, theirs)
  local most = #ours == #theirs and 0 or math.huge
  for i = 1, math.min(#ours, #theirs) do most = math.max(most, math.abs(ours[i] - theirs[i])) end
  return most
end

local function compare_prompts(m, expected, stored, report)
  for i, case in ipairs(expected.prompts or {}) do
    local name = "prompt " .. i
    if case.text then ids_line(report, name .. " text", m, case.text, case.ids) end
    if case.token_logprobs then
      close(report, name, "token log-probabilities,", largest_gap(token_logprobs(m, case.ids), case.token_logprobs), logit_tolerance)
    end
    if case.last_logits then
      local logits = m:forward({ case.ids }, { rows = "last" }).logits
      local theirs = reference.flatten(stored().tensor(case.last_logits))
      close(report, name, "last logits,", reference.difference(reference.flatten(logits), theirs), logit_tolerance)
    end
    if case.greedy_ids then greedy_line(report, name .. " greedy", m, case.ids, case.greedy_ids, true) end
  end
end

local function compare_chat(m, expected, report)
  for i, case in ipairs(expected.chat or {}) do
    local name = "chat " .. i
    local text, err = pl.try(m.tokenizer.chat, m.tokenizer, case.messages, { add_generation_prompt = true })
    report.line("real", name .. " template", text == case.text and "ok" or "OFF",
      text == case.text and "text equal" or ("got %q, expected %q"):format(tostring(text or err):sub(1, 200), case.text:sub(1, 200)))
    local problem = text and compare_text.list_problem("ids", m.tokenizer:ids(text, { special = false }), case.ids)
    report.line("real", name .. " text", problem and "OFF" or "ok", problem or #case.ids .. " ids equal")
    greedy_line(report, name .. " greedy", m, case.ids, case.greedy_ids, true)
  end
end

local function compare_page(m, page, report)
  if not page then return end
  for key, theirs in pairs(page) do
    if key == "token_logprobs" then
      close(report, "page", "token log-probabilities,", largest_gap(token_logprobs(m, page.ids), theirs), logit_tolerance)
    elseif key == "mean_nll" then
      local ours, sum = token_logprobs(m, page.ids), 0
      for _, value in ipairs(ours) do sum = sum + value end
      local mean = sum / #ours
      close(report, "page", "mean negative log-probability,", math.abs(-mean - theirs), logit_tolerance)
    end
  end
end

local function compare_embeddings(m, expected, stored, report)
  if not expected.texts then return end
  for i, text in ipairs(expected.texts) do ids_line(report, "text " .. i, m, text, expected.ids[i]) end
  local theirs = stored().tensor "embeddings"
  local ours = m:embed(expected.ids)
  for i = 1, #expected.texts do
    local a, b = ours:at { batch = i }:tolist(), reference.flatten(theirs:at { [theirs.shape[1].name] = i })
    local dot, aa, bb = 0, 0, 0
    for k = 1, #b do dot, aa, bb = dot + a[k] * b[k], aa + a[k] * a[k], bb + b[k] * b[k] end
    close(report, "embedding " .. i, "1 - cosine,", 1 - dot / math.sqrt(aa * bb), cosine_tolerance)
  end
  for i, row in ipairs(expected.cosine or {}) do
    local gap = 0
    for j, value in ipairs(row) do
      gap = math.max(gap, math.abs((ours:at { batch = i } * ours:at { batch = j }):sum() - value))
    end
    close(report, "similarity " .. i, "cosines,", gap, 1e-4)
  end
end

--- Compares one file.
---@param path string
---@param report table
function compare_real.compare(path, report)
  local expected, name = core.read_json(path), path:match "[^/]*$"
  if type(expected.load) ~= "string" then
    return report.line("real", name, "skip", "the file does not say what to load")
  end
  local m, err = pl.try(pl.load, expected.load, { compute = "f32" })
  if not m then
    local missing = err.code == "file" or err.code == "unsupported"
    return report.line("real", name, missing and "skip" or "OFF", tostring(err))
  end
  local file
  local function stored()
    file = file or pl.open((path:gsub("%.json$", ".safetensors")))
    return file
  end
  if expected.audio then compare_sound.real(m, expected, stored(), report, path:gsub("[^/]*$", "") .. "../../") end
  compare_prompts(m, expected, stored, report)
  compare_chat(m, expected, report)
  compare_page(m, expected.page, report)
  compare_embeddings(m, expected, stored, report)
  m:close()
end

return compare_real
