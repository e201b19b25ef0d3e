-- What people come with, symptom by symptom: what was looked at, what it means, what to do. Each
-- examination is a function of a model that adds findings.
local core = require "perilune.core"
local pl = require "perilune"
local byte_count = require "perilune.base.byte_count"
local progress = require "perilune.base.progress"

local doctor = {}

local prompt = "Once upon a time there was an old man who lived in a little house near the forest."

-- What is said of a symptom that is not there: nobody should read "ok   out of memory".
local well = {
  ["answers are not numbers"] = "weights are numbers",
  ["the same answer for every input, or senseless text"] = "the tokenizer fits",
  ["text that goes in circles"] = "text does not go in circles",
  ["text that is cut off"] = "no text is cut off unasked",
  ["asking for padding fails, or padding changes answers"] = "padding works",
  slow = "as fast as this machine allows",
  ["out of memory"] = "memory suffices",
}

-- The same for what is worth knowing and no illness.
local noted = {
  ["the same answer for every input, or senseless text"] = "no tokenizer to look at",
  ["text that is cut off"] = "short texts only",
  ["asking for padding fails, or padding changes answers"] = "no pad token",
}

-- level: "ok", "note" or "problem"; title: what to print above the finding.
local function add(list, level, symptom, looked, means, todo)
  local title = level == "ok" and well[symptom] or level == "note" and noted[symptom] or symptom
  list[#list + 1] = { level = level, symptom = symptom, title = title, looked = looked, means = means, todo = todo }
end

-- The files of a model's weights.
local function weight_files(m)
  if not core.folder_exists(m.path) then return { m.path } end
  local files = {}
  for _, name in ipairs(core.list_directory(m.path)) do
    if name:find "%.safetensors$" or name:find "%.gguf$" then files[#files + 1] = m.path .. "/" .. name end
  end
  return files
end

--- Weights that are no numbers: whatever is computed with them is none either.
---@param m Model
---@param list table[]
---@return boolean fine
function doctor.weights(m, list)
  local bad, count = {}, 0
  for _, path in ipairs(weight_files(m)) do
    local file = core.open_tensors(path)
    for _, name in ipairs(file.names) do
      local fine, stats = pcall(function() return file:tensor(name):stats() end)
      count = count + 1
      if fine and (stats.nan or 0) + (stats.inf or 0) > 0 then
        bad[#bad + 1] = ("%s (%d NaN, %d infinite)"):format(name, stats.nan or 0, stats.inf or 0)
      end
    end
    file:close()
  end
  local symptom = "answers are not numbers"
  if #bad == 0 then
    add(list, "ok", symptom, count .. " stored tensors", "none holds NaN or infinity")
    return true
  end
  local shown = table.concat(bad, ", ", 1, math.min(#bad, 4)) .. (#bad > 4 and (", … %d in all"):format(#bad) or "")
  add(list, "problem", symptom, count .. " stored tensors", shown, "fetch or convert the weights again: they were damaged where they were written")
  return false
end

-- The texts of a list that another has not.
local function without(list, others)
  local known, out = {}, {}
  for _, text in ipairs(others) do known[text] = true end
  for _, text in ipairs(list) do if not known[text] then out[#out + 1] = text end end
  return out
end

--- The same answer for every input, senseless text: does this tokenizer belong to this model?
---@param m Model
---@param list table[]
function doctor.tokenizer(m, list)
  local symptom = "the same answer for every input, or senseless text"
  if not m.tokenizer then
    return add(list, "note", symptom, "the tokenizer", "there is none: " .. tostring(m.tokenizer_reason), "give ids, or load with tokenizer=")
  end
  local verdict = pl.check(m, m.tokenizer, { probe = true })
  for _, text in ipairs(verdict.errors) do
    add(list, "problem", symptom, "the tokenizer against the model", text, "load the tokenizer that was trained with these weights: tokenizer=")
  end
  for _, text in ipairs(verdict.warnings) do
    add(list, "problem", symptom, "the tokenizer against the model", text, "compare the files with their source; perilune check --tokenizer PATH tries another")
  end
  local others = without(m.warnings, verdict.warnings)
  if #others > 0 then add(list, "note", "answers unlike those of other programs", "the model's files", table.concat(others, "; ")) end
  if #verdict.errors + #verdict.warnings == 0 then
    add(list, "ok", symptom, "ids, special tokens, the probe", verdict.probe and verdict.probe.verdict == "own" and "the tokenizer fits"
      or table.concat(verdict.notes, "; "))
  end
end

-- The period of a list's end that repeats at least three times, or nil.
local function loop_of(ids)
  for period = 1, math.min(24, math.floor(#ids / 3)) do
    local times, at = 1, #ids - period
    while at >= period do
      local same = true
      for k = 0, period - 1 do same = same and ids[at - k] == ids[#ids - k] end
      if not same then break end
      times, at = times + 1, at - period
    end
    if times >= 3 and times * period >= 12 then return period, times end
  end
end

--- Text that goes in circles.
---@param m Model
---@param list table[]
function doctor.repetition(m, list)
  if m.head ~= "causal" or not m.tokenizer then return end
  local symptom = "text that goes in circles"
  local free = math.min(96, (m.max_tokens or 1024) - 32)
  local r = m:generate(prompt, { do_sample = false, num_beams = 1, repetition_penalty = 1, no_repeat_ngram_size = 0, min_new_tokens = 0,
    max_new_tokens = math.max(12, free), context = "truncate_left" })
  local period, times = loop_of(r.ids)
  if not period then return add(list, "ok", symptom, #r.ids .. " greedy tokens", "no loop") end
  add(list, "problem", symptom, #r.ids .. " greedy tokens", ("the last %d tokens come %d times in a row"):format(period, times),
    "sample (do_sample=true), or no_repeat_ngram_size=3, or repetition_penalty=1.1; a model with random weights always loops")
end

--- Text that is cut off.
---@param m Model
---@param list table[]
function doctor.truncation(m, list)
  local symptom, found = "text that is cut off", false
  local s = rawget(m, "state_")
  local limit, longest = m.tokenizer and m.tokenizer.model_max_length, m.max_tokens
  if limit and longest and limit < longest then
    found = true
    add(list, "problem", symptom, "lengths", ("the tokenizer's files name %d tokens, the model has %d positions"):format(limit, longest),
      ('truncate={ to=%d }, not "model", where the whole length is wanted'):format(longest))
  end
  if longest and longest < 128 then
    found = true
    add(list, "note", symptom, "lengths", ("the model has %d positions only"):format(longest), "cut long texts into windows: truncate={ windows=true }")
  end
  local new = s.generation_defaults.max_new_tokens or s.generation_defaults.max_length
  if (m.head == "causal" or m.head == "seq2seq") and new and new < 64 then
    found = true
    add(list, "problem", symptom, s.generation_file, ("answers end after %d tokens unless told otherwise"):format(new), "give max_new_tokens")
  end
  if not found then add(list, "ok", symptom, "lengths and defaults", "nothing cuts texts unasked") end
end

--- Padding.
---@param m Model
---@param list table[]
function doctor.padding(m, list)
  if not m.tokenizer then return end
  local symptom = "asking for padding fails, or padding changes answers"
  if m.tokenizer.specials.pad then return add(list, "ok", symptom, "special tokens", "there is a pad token") end
  add(list, "note", symptom, "special tokens", "there is no pad token; padded views hold id 0 there, which no pass ever reads",
    "nothing: batches are ragged inside. Other programs may want pad_id= in batch:padded")
end

--- Slow: a better device, instruction set or more threads left unused.
---@param m Model
---@param list table[]
function doctor.speed(m, list)
  local symptom, found, here = "slow", false, nil
  for _, device in ipairs(core.devices()) do
    if device.name == m.device or device.kind == m.device then here = device end
    if device.kind ~= "cpu" and device.kind ~= "emulator" and m.device == "cpu" then
      found = true
      add(list, "problem", symptom, "devices", device.name .. " is there and the model is on the processor",
        'device="' .. device.name .. '", or unset PERILUNE_DEVICE')
    end
  end
  if m.device == "emulator" then
    found = true
    add(list, "problem", symptom, "devices", "the emulator runs a GPU's kernels one thread at a time: it is for tests",
      'device="cpu", or unset PERILUNE_DEVICE')
  end
  local tiers = core.tiers()
  local best = tiers[#tiers]
  if here and here.kind == "cpu" and here.tier and here.tier ~= best then
    found = true
    add(list, "problem", symptom, "instruction sets", ("%s runs, this processor has %s"):format(here.tier, best), "unset PERILUNE_CPU")
  end
  if m.threads < core.available_threads() then
    found = true
    add(list, "problem", symptom, "threads", ("%d of %d threads"):format(m.threads, core.available_threads()), "threads=, or leave it out for all of them")
  end
  if not found then add(list, "ok", symptom, "devices, instruction set, threads", "the best of each is used") end
end

--- Memory.
---@param m Model
---@param list table[]
function doctor.memory(m, list)
  local memory, free = m:memory(), core.memory().free or math.huge
  local full = (m.max_tokens or 4096) * memory.cache_per_token
  local text = ("weights %s, workspace %s, %s for one text of full length; %s free"):format(byte_count.text(memory.weights),
    byte_count.text(memory.workspace), byte_count.text(full), byte_count.text(free))
  if full > free then
    return add(list, "problem", "out of memory", "sizes", text, 'shorter texts, cache="bf16", or an engine with memory=')
  end
  add(list, "ok", "out of memory", "sizes", text)
end

-- In this order: what is broken first spoils what comes later.
local examinations = { "weights", "tokenizer", "repetition", "truncation", "padding", "speed", "memory" }
local of_answers = { tokenizer = true, repetition = true }   -- tell nothing of weights that are no numbers

--- All examinations of a model.
---@param m Model
---@return table[] findings { level="ok"|"note"|"problem", symptom=, title=, looked=, means=, todo= }
function doctor.examine(m)
  local list, numbers = {}, true
  for i, name in ipairs(examinations) do
    progress.note(("doctor: %s, %d of %d"):format(name, i, #examinations))
    if numbers or not of_answers[name] then
      local ok, result = pcall(doctor[name], m, list)
      if not ok and core.interrupted() then error(result, 0) end
      if not ok then add(list, "problem", name, "this examination", "it failed: " .. tostring(result), "that is worth a report") end
      if name == "weights" and ok then numbers = result end
    end
  end
  progress.note(nil)
  return list
end

return doctor
