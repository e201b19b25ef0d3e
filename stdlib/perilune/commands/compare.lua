-- perilune compare: reference values against what this build computes. One line a case; what cannot
-- run yet is a visible skip with its reason.
local pl = require "perilune"
local core = require "perilune.core"
local pass_runner = require "perilune.loaded.pass_runner"
local command_line = require "perilune.program.command_line"
local reference = require "perilune.compare.reference"
local compare_text = require "perilune.compare.text"
local compare_vectors = require "perilune.compare.vectors"
local compare_real = require "perilune.compare.real"
local compare_blocks = require "perilune.compare.blocks"
local compare_sound = require "perilune.compare.sound"
local compare_pictures = require "perilune.compare.pictures"

local compare = {
  summary = "hold model folders and text references against what this build computes",
  usage = "perilune compare PATH… [--tolerance 1e-4] [--strict] [--data DIR] [--models DIR]",
  options = {
    tolerance = { value = "T", number = true, help = "largest |a - b| / max(1, max|b|) (default 1e-4)" },
    strict = { help = "a skip counts as a failure" },
    data = { value = "DIR", help = "where tokenizers/… paths of text references start (default ../../data from the file)" },
    models = { value = "DIR", help = "where model names of text references are (default ../models from the file)" },
  },
  help = "PATH is a model folder with expected.json and expected.safetensors, a text reference (.jsonl),\n"
    .. "a file of real models' answers (.json), published test vectors (llama.cpp's .gguf.inp with .out,\n"
    .. "ggml-prompts/*.txt, transformers-js/*.json), values of quantized blocks (gguf-blocks.safetensors),\n"
    .. "or a folder of any of these. Exit status 1 when any case is off.",
}

-- The counts of one kind of comparison in a report.
local function counts_of(report, kind)
  local counts = report.kinds[kind]
  if not counts then
    counts = { ok = 0, all = 0, skipped = 0 }
    report.kinds[kind] = counts
    report.order[#report.order + 1] = kind
  end
  return counts
end

-- Counts and lines of one run.
local function new_report(settings)
  local report = { failed = 0, skipped = 0, kinds = {}, order = {} }
  function report.line(kind, name, verdict, detail)
    local count = counts_of(report, kind)
    count.all = count.all + 1
    if verdict == "ok" then count.ok = count.ok + 1
    elseif verdict == "skip" then count.skipped, report.skipped = count.skipped + 1, report.skipped + 1
    else report.failed = report.failed + 1 end
    if not settings.quiet then
      print(("  %-4s %s  %s"):format(verdict, name, detail))
    end
  end
  function report.close(kind, name, difference, what)
    local ok = difference <= settings.tolerance
    report.line(kind, name, ok and "ok" or "OFF", ("%s largest difference %.2e"):format(what, difference))
  end
  function report.summary()
    local parts = {}
    for _, kind in ipairs(report.order) do
      local c = report.kinds[kind]
      parts[#parts + 1] = ("%s %d of %d"):format(kind, c.ok, c.all)
        .. (c.skipped > 0 and (" (%d skipped)"):format(c.skipped) or "")
    end
    return #parts > 0 and table.concat(parts, ", ") or "nothing to compare"
  end
  return report
end

local function flat(list)
  local out = {}
  for i, t in ipairs(list) do out[i] = reference.flatten(t) end
  return out
end

-- Stored name of a case's tensor → the numbers this build computed for it.
local function computed_values(m, case, out)
  local values = {}
  local function put(key, t) if case[key] and t then values[#values + 1] = { key, case[key], reference.flatten(t) } end end
  put("logits", out.logits)
  put("start_logits", out.start_logits)
  put("end_logits", out.end_logits)
  put("last_hidden_state", out.last_hidden_state)
  put("pooler_output", out.pooled)
  put("encoder_last", out.encoder_last)
  if case.mean_pooled then put("mean_pooled", out.batch:mean(out.last_hidden_state)) end
  local function put_list(key, tensors)
    if not case[key] or not tensors then return end
    for i, numbers in ipairs(flat(tensors)) do values[#values + 1] = { key, case[key][i] or "(missing)", numbers } end
    if #tensors ~= #case[key] then
      values[#values + 1] = { key, "(count)", { #tensors }, { #case[key] } }
    end
  end
  put_list("hidden_states", out.hidden_states)
  put_list("decoder_hidden_states", case.decoder_hidden_states and out.hidden_states)
  put_list("encoder_hidden_states", out.encoder_hidden_states)
  if case.token_logprobs and out.logits then
    values[#values + 1] = { "token_logprobs", nil, reference.token_logprobs(out.logits:tolist(), case.ids), case.token_logprobs }
  end
  return values
end

local function forward_outputs(case)
  local outputs = {}
  for _, key in ipairs { "logits", "start_logits", "end_logits", "last_hidden_state" } do
    if case[key] then outputs[#outputs + 1] = key end
  end
  if case.pooler_output then outputs[#outputs + 1] = "pooled" end
  if case.hidden_states or case.decoder_hidden_states then outputs[#outputs + 1] = "hidden_states" end
  if case.encoder_last then outputs[#outputs + 1] = "encoder_last" end
  if case.encoder_hidden_states then outputs[#outputs + 1] = "encoder_hidden_states" end
  if case.mean_pooled and not case.last_hidden_state then outputs[#outputs + 1] = "last_hidden_state" end
  return outputs
end

local function compare_forward(m, expected, stored, report)
  for index, case in ipairs(expected.forward or {}) do
    local name = ("forward %d (%d tokens)"):format(index, #case.ids)
    local input = pl.batch({ case.ids }, { type_ids = case.token_type_ids and { case.token_type_ids } or nil })
    local out, err = pl.try(m.forward, m, input,
      { rows = "all", outputs = forward_outputs(case), decoder = case.decoder_ids and { case.decoder_ids } or nil })
    if not out then
      report.line("forward", name, "OFF", tostring(err))
    else
      local worst, where, seen = 0, nil, {}
      for _, value in ipairs(computed_values(m, case, out)) do
        local key, stored_name, ours, theirs = value[1], value[2], value[3], value[4]
        theirs = theirs or (stored.has(stored_name) and reference.flatten(stored.tensor(stored_name))) or {}
        local difference = reference.difference(ours, theirs)
        seen[key] = true
        if not where or difference > worst then worst, where = difference, key end
      end
      for _, key in ipairs { "logits", "hidden_states", "start_logits", "end_logits", "last_hidden_state", "pooler_output",
        "encoder_last", "decoder_hidden_states", "encoder_hidden_states", "mean_pooled" } do
        if case[key] and not seen[key] then worst, where = math.huge, key .. " is missing:" end
      end
      report.close("forward", name, worst, where or "")
    end
  end
end

-- Our score of an id after the prompt and some new tokens, as greedy decoding sees it.
local function scorer(m, prompt, options)
  local function joined(first, second)
    local ids = {}
    for _, v in ipairs(first) do ids[#ids + 1] = v end
    for _, v in ipairs(second) do ids[#ids + 1] = v end
    return ids
  end
  return function(prefix, id)
    local input, decoder, seen = { prompt }, nil, false
    local ids = joined(m.head == "seq2seq" and { options.start } or prompt, prefix)
    if m.head == "seq2seq" then decoder = { ids } else input = { ids } end
    for _, v in ipairs(ids) do seen = seen or v == id end
    local score = m:forward(input, { rows = "last", decoder = decoder }).logits:at { batch = 1, vocab = id }:item()
    local penalty = options.repetition_penalty or 1
    if seen and penalty ~= 1 then score = score < 0 and score * penalty or score / penalty end
    return score
  end
end

-- New tokens of a stored row: an encoder-decoder's are stored with their start.
local function new_tokens(row)
  if row.new_ids then return row.new_ids end
  local function cut(ids)
    local out = {}
    for i = 2, #ids do out[i - 1] = ids[i] end
    return out, ids[1]
  end
  if type(row.ids[1]) ~= "table" then return cut(row.ids) end
  local lists = {}
  for i, ids in ipairs(row.ids) do lists[i] = cut(ids) end
  return lists, row.ids[1][1]
end

local function compare_row(m, result, row, prompt, options)
  local theirs, start = new_tokens(row)
  if (options.num_beams or 1) == 1 then
    return reference.compare_greedy(result.ids, theirs, scorer(m, prompt,
      { repetition_penalty = options.repetition_penalty, start = start }))
  end
  if type(theirs[1]) ~= "table" then theirs = { theirs } end
  return reference.compare_beams(result.sequences or { result }, theirs, row.sequence_scores)
end

-- The published implementation samples from the rows above the tokenizer's highest id too; m:generate
-- masks them, since they have no text.
local function without_tokenizer(m, run)
  local s, tokenizer = rawget(m, "state_"), m.tokenizer
  local reachable = s.reachable
  s.reachable, m.tokenizer = s.vocab_rows, nil
  local results, err = run()
  s.reachable, m.tokenizer = reachable, tokenizer
  return results, err
end

local function compare_generate(m, expected, report)
  local prompts = {}
  for i, prompt in ipairs(expected.prompts or expected.forward or {}) do prompts[i] = prompt.ids end
  for _, set in ipairs(expected.generate or {}) do
    local options = { do_sample = false }
    for key, value in pairs(set.options) do if key ~= "label" then options[key] = value end end
    local label, inputs = set.options.label or "generate", {}
    for i = 1, #set.results do inputs[i] = prompts[i] end
    local results, err = without_tokenizer(m, function() return pl.try(m.generate, m, inputs, options) end)
    for i, row in ipairs(set.results) do
      local name = ("%s %d"):format(label, i)
      if not results then
        report.line("generate", name, err.code == "unsupported" and "skip" or "OFF", tostring(err))
      elseif not results[i] then
        report.line("generate", name, "OFF", "no prompt " .. i)
      elseif results[i].finish_reason == "error" then
        report.line("generate", name, "OFF", results[i].error)
      else
        local ok, what = compare_row(m, results[i], row, prompts[i], options)
        report.line("generate", name, ok and "ok" or "OFF", what)
      end
    end
  end
end

local function compare_texts(m, expected, report)
  local cases = {}
  for _, prompt in ipairs(expected.prompts or {}) do cases[#cases + 1] = prompt end
  for _, case in ipairs(expected.forward or {}) do if case.text then cases[#cases + 1] = case end end
  for i, case in ipairs(cases) do
    if case.text then
      local name = "text " .. i
      local text = case.text
      if type(text) == "table" then text = #text == 1 and text[1] or { text = text[1], pair = text[2] } end
      if not m.tokenizer then
        report.line("tokenizer", name, "skip", m.tokenizer_reason or "this folder's tokenizer is not understood yet")
      else
        local ids, err = pl.try(m.tokenizer.ids, m.tokenizer, text)
        local problem = ids and compare_text.list_problem("ids", ids, case.ids) or err and tostring(err)
        report.line("tokenizer", name, problem and "OFF" or "ok", problem or #ids .. " ids equal")
      end
    end
  end
end

local function open_stored(path)
  local file = pl.open(path)
  local present = {}
  for _, name in ipairs(file.names) do present[name] = true end
  return { names = file.names, has = function(name) return present[name] end, tensor = function(name) return file.tensor(name) end }
end

local function compare_model(path, report)
  local expected = core.read_json(path .. "/expected.json")
  if not core.file_exists(path .. "/config.json") then
    report.line("folder", path, "skip", "no config.json: not a model folder (stored cases of logits processors run in the tests)")
    return
  end
  local m, err = pl.try(pl.load, path, { compute = "f32" })
  if not m then
    if err.code == "unsupported" then report.line("forward", "load", "skip", tostring(err))
    else report.line("forward", "load", "OFF", tostring(err)) end
    return
  end
  local device = pass_runner.device(m.device)
  print(("  %s, head %s, compute %s, device %s, tier %s, %d threads"):format(m.family, m.head, m.compute, m.device, device.tier, core.threads()))
  if compare_sound.knows(expected) then
    compare_sound.compare(m, expected, open_stored(path .. "/expected.safetensors"), report)
  elseif compare_pictures.knows(expected) then
    compare_pictures.compare(m, expected, open_stored(path .. "/expected.safetensors"), report)
  elseif compare_pictures.classifies(expected) then
    compare_pictures.compare_classes(m, expected, open_stored(path .. "/expected.safetensors"), report)
  elseif not expected.forward and not expected.generate then
    report.line("forward", "cases", "skip", "expected.json has no cases that are known")
  else
    local stored = open_stored(path .. "/expected.safetensors")
    compare_forward(m, expected, stored, report)
    compare_blocks.compare_weights(m, stored, report)
    compare_generate(m, expected, report)
    compare_texts(m, expected, report)
  end
  local after = pass_runner.device(m.device)
  local launches, graphs = after.launches - device.launches, after.graph_starts - device.graph_starts
  if launches > 0 then
    print(("  %d kernels launched on %s, %d passes each in one call"):format(launches, m.device, graphs))
  end
  m:close()
end

local function compare_path(path, settings, report)
  print(path)
  if path:match "%.jsonl$" then
    compare_text.compare(path, settings, report)
  elseif compare_vectors.knows(path) then
    compare_vectors.compare(path, settings, report)
  elseif compare_blocks.knows(path) then
    compare_blocks.compare(path, report)
  elseif path:match "%.json$" then
    compare_real.compare(path, report)
  elseif core.file_exists(path .. "/expected.json") then
    compare_model(path, report)
  elseif pl.try(core.read_file, path) then   -- `compare models/*` meets a README now and then
    print "  passed over: neither a model folder nor a reference file"
  else
    local there = core.folder_exists(path) or core.file_exists(path)
    core.error { code = "file", op = "compare", message = there and "no reference values in " .. path or path .. " is not there",
      hint = "a model folder needs expected.json and expected.safetensors" }
  end
end

-- A folder that is no model stands for the references and models in it.
local function expand(paths)
  local out = {}
  for _, given in ipairs(paths) do
    local path = given:gsub("(.)/+$", "%1")
    local holds = core.folder_exists(path) and not core.file_exists(path .. "/expected.json")
      and not core.file_exists(path .. "/config.json")
    local found = {}
    for _, name in ipairs(holds and core.list_directory(path) or {}) do
      local inner = path .. "/" .. name
      local real = path:match "real$" and name:match "%.json$"
      if real or core.file_exists(inner .. "/expected.json") or name:match "%.jsonl$" or compare_vectors.knows(inner)
        or compare_blocks.knows(inner) then
        found[#found + 1] = inner
      end
    end
    if #found == 0 then found[1] = path end
    for _, inner in ipairs(found) do out[#out + 1] = inner end
  end
  return out
end

function compare.run(options, paths)
  if #paths == 0 then
    return command_line.misused(compare, "name at least one PATH")
  end
  local settings = { tolerance = options.tolerance or 1e-4, data = options.data, models = options.models }
  local failed, skipped = 0, 0
  local total = new_report(settings)
  paths = expand(paths)
  for _, path in ipairs(paths) do
    local report = new_report(settings)
    local _, err = pl.try(compare_path, path, settings, report)
    command_line.pass_interrupt(err or "interrupted")   -- in whichever part
    if err then report.line("folder", path, "OFF", tostring(err)) end
    print("  " .. report.summary())
    failed, skipped = failed + report.failed, skipped + report.skipped
    for kind, count in pairs(report.kinds) do
      local sum = counts_of(total, kind)
      sum.ok, sum.all, sum.skipped = sum.ok + count.ok, sum.all + count.all, sum.skipped + count.skipped
    end
  end
  if #paths > 1 then
    table.sort(total.order)
    print("all: " .. total.summary())
  end
  if failed > 0 then print(failed .. " off") end
  if failed > 0 or (options.strict and skipped > 0) then return command_line.failed end
  return command_line.ok
end

return compare
