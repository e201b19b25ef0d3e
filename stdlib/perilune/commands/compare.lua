-- perilune compare: reference values against what this build computes. One line a case; what cannot
-- run yet is a visible skip with its reason.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.command_line"
local reference = require "perilune.reference"

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
    .. "or a file of real models' answers (.json). Exit status 1 when any case is off.",
}

-- Counts and lines of one run.
local function new_report(settings)
  local report = { failed = 0, skipped = 0, kinds = {}, order = {} }
  function report.line(kind, name, verdict, detail)
    local count = report.kinds[kind]
    if not count then
      count = { ok = 0, all = 0, skipped = 0 }
      report.kinds[kind] = count
      report.order[#report.order + 1] = kind
    end
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
  return function(prefix, id)
    local ids, seen = {}, false
    for _, v in ipairs(prompt) do ids[#ids + 1] = v end
    for _, v in ipairs(prefix) do ids[#ids + 1] = v end
    for _, v in ipairs(ids) do seen = seen or v == id end
    local score = m:forward({ ids }, { rows = "last" }).logits:at { batch = 1, vocab = id }:item()
    local penalty = options.repetition_penalty or 1
    if seen and penalty ~= 1 then score = score < 0 and score * penalty or score / penalty end
    return score
  end
end

local function compare_generate(m, expected, report)
  for _, set in ipairs(expected.generate or {}) do
    local options = set.options
    local label = options.label or "generate"
    local reason = reference.cannot_generate(options)
    if not reason and m.head ~= "causal" then reason = "generation of an encoder-decoder is not supported yet" end
    local prompts = {}
    for i, prompt in ipairs(expected.prompts or {}) do prompts[i] = prompt.ids end
    if reason then
      for i = 1, #set.results do report.line("generate", ("%s %d"):format(label, i), "skip", reason) end
    else
      local results, err = pl.try(m.generate, m, prompts, { do_sample = false, max_new_tokens = options.max_new_tokens,
        min_new_tokens = options.min_new_tokens, eos_token_id = options.eos_token_id,
        repetition_penalty = options.repetition_penalty })
      for i, row in ipairs(set.results) do
        local name = ("%s %d"):format(label, i)
        local theirs = row.new_ids
        if not results then
          report.line("generate", name, "OFF", tostring(err))
        elseif not results[i] then
          report.line("generate", name, "OFF", "no prompt " .. i)
        else
          local ok, what = reference.compare_greedy(results[i].ids, theirs, scorer(m, prompts[i], options))
          report.line("generate", name, ok and "ok" or "OFF", what)
        end
      end
    end
  end
end

local function list_text(ids, limit)
  local words = {}
  for i = 1, math.min(#ids, limit) do words[i] = tostring(ids[i]) end
  return table.concat(words, " ") .. (#ids > limit and " …" or "")
end

local function same_ids(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do if a[i] ~= b[i] then return false end end
  return true
end

local function compare_texts(m, expected, report)
  local cases = {}
  for _, prompt in ipairs(expected.prompts or {}) do cases[#cases + 1] = prompt end
  for _, case in ipairs(expected.forward or {}) do if case.text then cases[#cases + 1] = case end end
  for i, case in ipairs(cases) do
    if case.text then
      local name = "text " .. i
      local text = type(case.text) == "table" and #case.text == 1 and case.text[1] or case.text
      if not m.tokenizer then
        report.line("tokenizer", name, "skip", m.tokenizer_reason or "this folder's tokenizer is not understood yet")
      elseif type(text) == "table" then
        report.line("tokenizer", name, "skip", "pairs of texts are not supported yet")
      else
        local ids, err = pl.try(m.tokenizer.ids, m.tokenizer, text)
        if ids and same_ids(ids, case.ids) then
          report.line("tokenizer", name, "ok", #ids .. " ids equal")
        else
          report.line("tokenizer", name, "OFF", ids and ("got " .. list_text(ids, 12) .. ", expected " .. list_text(case.ids, 12)) or tostring(err))
        end
      end
    end
  end
end

local function open_stored(path)
  local file = pl.open(path)
  local present = {}
  for _, name in ipairs(file.names) do present[name] = true end
  return { has = function(name) return present[name] end, tensor = function(name) return file.tensor(name) end }
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
  local device = pl.devices()[1]
  print(("  %s, head %s, compute %s, device %s, tier %s, %d threads"):format(m.family, m.head, m.compute, m.device, device.tier, core.threads()))
  if not expected.forward and not expected.generate then
    report.line("forward", "cases", "skip", "sound and pictures are not supported yet")
  else
    local stored = open_stored(path .. "/expected.safetensors")
    compare_forward(m, expected, stored, report)
    compare_generate(m, expected, report)
    compare_texts(m, expected, report)
  end
  m:close()
end

local function read_lines(path)
  local lines = {}
  for line in (core.read_file(path) .. "\n"):gmatch "(.-)\r?\n" do
    if line ~= "" then lines[#lines + 1] = line end
  end
  return lines
end

-- tokenizers/…: ids, and the text decoded again, without special tokens.
local function compare_tokenizer_text(path, lines, head, settings, report)
  local data = settings.data or path:gsub("[^/]*$", "") .. "../../data"
  local tokenizer, err = pl.try(pl.tokenizer, data .. "/" .. head.tokenizer)
  if not tokenizer then
    report.line("text", head.tokenizer, err.code == "unsupported" and "skip" or "OFF", tostring(err))
    return
  end
  local bad = 0
  for i = 2, #lines do
    local row = core.json(lines[i], path .. ":" .. i)
    local ids = tokenizer:ids(row.text, { special = false })
    local decoded = tokenizer:decode(ids)
    if not same_ids(ids, row.ids) or (row.decoded and decoded ~= row.decoded) then
      bad = bad + 1
      if bad <= 5 then
        report.line("text", "row " .. i - 1, "OFF", ("got %s, expected %s"):format(list_text(ids, 10), list_text(row.ids, 10)))
      else
        report.line("text", "row " .. i - 1, "OFF", "differs too")
      end
    end
  end
  if bad == 0 then report.line("text", head.tokenizer, "ok", #lines - 1 .. " rows equal") end
end

local function compare_text(path, settings, report)
  local lines = read_lines(path)
  local head = core.json(lines[1] or "{}", path .. ":1")
  local made = head.made_with or "?"
  if head.tokenizer and made:match "^sentencepiece" then
    compare_tokenizer_text(path, lines, head, settings, report)
  else
    report.line("text", path:match "[^/]*$", "skip", (#lines - 1) .. " rows; this kind (" .. made .. ") is not understood yet")
  end
end

local function compare_path(path, settings, report)
  print(path)
  if path:match "%.jsonl$" then
    compare_text(path, settings, report)
  elseif path:match "%.json$" then
    report.line("real", path:match "[^/]*$", "skip", "answers of real models are compared with later pieces of work")
  elseif core.file_exists(path .. "/expected.json") then
    compare_model(path, report)
  elseif pl.try(core.read_file, path) then   -- `compare models/*` meets a README now and then
    print "  passed over: neither a model folder nor a reference file"
  else
    core.error { code = "file", op = "compare", message = "no reference values in " .. path,
      hint = "a model folder needs expected.json and expected.safetensors" }
  end
end

function compare.run(options, paths)
  if #paths == 0 then
    io.stderr:write("perilune compare: name at least one PATH; usage: ", compare.usage, "\n")
    return command_line.wrong_usage
  end
  local settings = { tolerance = options.tolerance or 1e-4, data = options.data, models = options.models }
  local failed, skipped = 0, 0
  local total = new_report(settings)
  for _, path in ipairs(paths) do
    local report = new_report(settings)
    local _, err = pl.try(compare_path, path:gsub("/+$", ""), settings, report)
    if err then report.line("folder", path, "OFF", tostring(err)) end
    print("  " .. report.summary())
    failed, skipped = failed + report.failed, skipped + report.skipped
    for kind, count in pairs(report.kinds) do
      local sum = total.kinds[kind]
      if not sum then
        sum = { ok = 0, all = 0, skipped = 0 }
        total.kinds[kind] = sum
        total.order[#total.order + 1] = kind
      end
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
