-- Every verb of the program, run as a program: help, exit statuses, what it prints.
local verbs = require "perilune.commands"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"

local program = os.getenv "PERILUNE" or arg[-1]
local golden = t.golden "llama-gqa"
local tales = "scripts/models/tales"

-- Runs the program with a line of arguments (and what is piped into it); what it printed and its exit status.
local function run(arguments, before)
  local pipe = assert(io.popen(("%s%s %s 2>&1; echo \"status=$?\""):format(before or "", program, arguments)))
  local text = pipe:read "*a"
  pipe:close()
  local out, status = text:match "^(.*)status=(%d+)\n$"
  return out, tonumber(status)
end

local function expect(arguments, wanted, ...)
  local out, status = run(arguments)
  t.ok(status == wanted, ("perilune %s: exit status %s, expected %d:\n%s"):format(arguments, tostring(status), wanted, out))
  for i = 1, select("#", ...) do
    local part = select(i, ...)
    t.ok(out:find(part, 1, true), ("perilune %s: lacks %q in:\n%s"):format(arguments, part, out))
  end
  return out
end

-- The files say which verbs there are.
t.test("verbs.names is the list of files", function()
  local files = {}
  for _, source in ipairs(core.stdlib()) do
    local name = source.name:match "^perilune%.commands%.([%w_]+)$"
    if name then files[#files + 1] = name end
  end
  table.sort(files)
  t.equal(verbs.names, files)
end)

local tested = {}

for _, name in ipairs(verbs.names) do
  t.test(name .. ": --help, help and wrong usage", function()
    local verb = verbs.get(name)
    local out = expect(name .. " --help", 0, "usage: " .. verb.usage, verb.summary)
    for option in pairs(verb.options or {}) do t.ok(out:find("--" .. option, 1, true), "--" .. option .. " is not in the help") end
    t.equal(expect("help " .. name, 0), out)
    expect(name .. " --no-such-option", 2, "unknown option --no-such-option", "usage: " .. verb.usage)
  end)
end

local function verb_test(name, what, fn)
  tested[name] = true
  t.test(name .. ": " .. what, fn)
end

verb_test("help", "lists the verbs", function()
  local out = expect("help", 0)
  for _, name in ipairs(verbs.names) do t.ok(out:find("perilune " .. name, 1, true), name) end
  expect("help chekc", 2, 'did you mean "check"?')
  expect("help pl.load", 0, "pl.load(path, opts)")
end)

verb_test("run", "continues a prompt", function()
  local one = expect(("run %s 'Once upon a time' --max-new-tokens 8 --seed 3"):format(tales), 0)
  t.equal(expect(("run %s 'Once upon a time' --max-new-tokens 8 --seed 3"):format(tales), 0), one, "the same seed")
  expect("run", 2, "name a model folder")
  expect("run no_such_folder x", 1, "no_such_folder")
  expect(("run %s x --max-new-tokens few"):format(tales), 2, "needs a number")
end)

verb_test("chat", "needs a chat template", function()   -- the rest is in chat_spec.lua
  expect(("chat %s < /dev/null"):format(tales), 1, "no chat template", "--raw")
  expect(("chat %s --raw < /dev/null"):format(tales), 0)
  expect("chat", 2, "name one model folder")
  expect("chat no_such_folder", 1, "no_such_folder")
end)

verb_test("check", "says whether a folder fits together", function()
  expect("check " .. golden, 0, "family   llama", "ok")
  local report = core.json(expect("check --json " .. golden, 0), "check")
  t.equal({ report.ok, report.family, report.embedding_rows, #report.errors }, { true, "llama", 384, 0 })
  expect("check --probe " .. golden, 0, "note     probe: cannot tell, the model looks untrained")
  expect(("check %s --tokenizer %s"):format(golden, tales), 1, "id 2047 has no embedding row (the model has 384)", "not ok")
  expect("check", 2, "name a model folder")
  expect("check no_such_folder", 1, "error", "no_such_folder")
end)

verb_test("lock", "writes down what check then compares", function()
  local file = os.tmpname()
  expect(("lock %s --output %s"):format(golden, file), 0, file, "llama-causal-")
  expect(("check %s --lock %s"):format(golden, file), 0, "nothing changed", "ok")
  expect(("check %s --lock %s"):format(t.golden "gpt2-plain", file), 1, "changed since the lock: family", "weights", "not ok")
  os.remove(file)
  expect("lock", 2, "name one model folder")
  expect("lock no_such_folder", 1, "no_such_folder")
end)

verb_test("compare", "holds a folder to its expected values", function()
  expect("compare " .. golden, 0, "ok")
  expect("compare " .. golden .. " --tolerance 1e-30", 1, "OFF")
  expect("compare", 2, "usage")
end)

verb_test("advise", "says which ways of loading fit", function()
  expect("advise " .. tales .. " --memory 8G --device cpu", 0, 'compute="f32"', "8.0 GiB", "yes")
  local r = core.json(expect("advise " .. tales .. " --memory 1M --context 100 --json", 0), "advise")
  t.equal({ r.context, r.memory, r.ways[1].fits, r.ways[1].context }, { 100, 2 ^ 20, false, 0 })
  expect("advise " .. tales .. " --memory much", 2, "option memory")
  expect("advise", 2, "name one model")
end)

verb_test("bench", "measures rates", function()
  local out = expect(("bench %s --json --threads 1 --prompt 8 --new 4 --repeats 1"):format(golden), 0)
  local report = core.json(out, "bench")
  t.equal(report.runs[1].threads, 1)
  t.ok(report.runs[1].decode_tokens_per_s > 0)
  t.ok(report.runs[1].bandwidth_share > 0)
  expect(("bench %s --threads 1 --prompt 8 --new 4 --repeats 1"):format(golden), 0, "decode tokens/s")
  expect("bench", 2, "name one model folder")
end)

verb_test("bench of an encoder", "counts texts", function()
  local run_options = "--threads 1 --prompt 8 --repeats 1"
  local report = core.json(expect(("bench scripts/models/reviews --json %s"):format(run_options), 0), "bench")
  t.near(report.runs[1].tokens_per_s, 8 * report.runs[1].texts_per_s, 1e-3)
  expect(("bench scripts/models/reviews %s"):format(run_options), 0, "texts/s", "texts of 8 tokens")
end)

verb_test("bench --modes", "measures the ways of loading beside each other", function()
  local picture, run_options = os.tmpname(), "--modes --device cpu --prompt 8 --new 4 --repeats 1"
  local r = core.json(expect(("bench %s %s --json --plot %s"):format(tales, run_options, picture), 0), "bench")
  local modes = {}
  for _, way in ipairs(r.ways) do
    t.ok(way.weights > 0 and way.prefill_tokens_per_s > 0 and way.decode_tokens_per_s > 0 and way.perplexity > 1 and way.same_top > 0.5, way.how)
    modes[way.how] = way
  end
  t.equal({ modes['compute="f32", cache="f32"'].kl_mean, modes['compute="f32", cache="f32"'].perplexity }, { 0, r.perplexity })
  t.ok(modes['compute="bf16", cache="bf16"'].kl_mean > 0)
  t.ok(core.read_file(picture):find("mean KL divergence, nats", 1, true))
  os.remove(picture)
  expect(("bench scripts/models/reviews %s"):format(run_options), 0, 'compute="bf16"', "cosine at least", "texts/s")
  expect("bench " .. tales .. " --modes --overhead", 2, "two measurements")
end)

verb_test("bench --overhead", "measures a step beside its kernels", function()
  local options = "--overhead --device cpu --prompt 3 --new 8 --repeats 1"
  local times = core.json(expect(("bench %s %s --json"):format(golden, options), 0), "bench").runs[1]
  t.equal(times.steps, 5)   -- of 8: not the prompt's, the first that decodes and the last
  t.equal(times.threads, 1)
  local sum = 0
  for _, part in ipairs { "decide", "batch", "bind", "run", "read", "choose", "events", "rest" } do
    t.ok(times.parts_us[part].median >= 0 and times.parts_us[part].p99 >= times.parts_us[part].median, part)
    sum = sum + times.parts_us[part].p99
  end
  t.ok(times.kernels_us.median > 0 and times.clock_readings > 40)
  t.ok(times.reading_us.median > 0 and times.reading_us.median < times.outside_us.median)
  t.ok(times.own_us.median > 0 and times.own_us.median < times.outside_us.median)
  t.ok(times.outside_us.median > 0 and times.outside_us.median <= sum, "the parts are all of it")
  t.ok(times.total_us.median >= times.kernels_us.median)
  expect(("bench %s %s"):format(golden, options), 0, "outside kernels", "decide", "choose")
end)

verb_test("doctor", "finds and tells", function()
  expect("doctor scripts/models/reviews", 0, "the tokenizer fits")
  t.ok(#core.json(expect("doctor scripts/models/reviews --json", 0), "doctor") > 4)
  expect("doctor no-such-model", 1, "does not load")
  expect("doctor", 2, "usage")
end)

verb_test("get", "lists what it knows; fetching itself is in tests/shell/get_test.sh", function()
  expect("get --list", 0, "smollm2")
  expect("get", 2, "usage")
  expect("get smollm", 2, "did you mean")
end)

verb_test("lengths", "says how long texts are and what padding wastes", function()
  local file = os.tmpname()
  core.write_file(file, '{"text": "one two"}\n\n{"text": "' .. ("many words "):rep(40) .. '"}\n')
  local model = "scripts/models/tales"
  expect(("lengths %s --tokenizer %s --field text"):format(file, model), 0, "2 texts")
  local r = core.json(expect(("lengths %s --tokenizer %s --field text --json"):format(file, model), 0), "lengths")
  t.equal(r.count, 2)
  t.ok(r.waste_padded > 0.4 and r.waste_buckets <= r.waste_padded)
  expect(("lengths %s --tokenizer %s --field word"):format(file, model), 1, "word")
  expect("lengths " .. file, 2, "tokenizer")
  expect("lengths", 2, "usage")
  os.remove(file)
end)

verb_test("simulate", "tries a policy on lengths", function()
  local lengths, policy, picture = os.tmpname(), os.tmpname(), os.tmpname()
  core.write_file(lengths, "# prompt output arrive_ms\n5\n7 2\n9, 3, 1.5\n")
  core.write_file(policy, "return function(queue) return queue end\n")
  expect(("simulate %s %s"):format(policy, lengths), 0, "requests", "steps", "padding", "waits")
  local r = core.json(expect(("simulate fifo %s --json --padded --ms-per-token 0.1 --plot %s"):format(lengths, picture), 0), "simulate")
  t.equal({ r.tokens, #r.requests, r.requests[3].arrive_ms }, { 24, 3, 1.5 })
  t.ok(r.waste > 0)
  t.ok(core.read_file(picture):find("<svg", 1, true))
  expect(("simulate %s %s --model scripts/models/tales --output 3"):format(policy, lengths), 0, "keys and values")
  core.write_file(policy, "return function(queue)\n  return {}\nend\n")
  expect(("simulate %s %s"):format(policy, lengths), 1, "never runs request 1", policy .. ":1")
  core.write_file(policy, "return function(")
  expect(("simulate %s %s"):format(policy, lengths), 1, policy)
  expect(("simulate fivo %s"):format(lengths), 1, "did you mean")
  core.write_file(lengths, "5 many\n")
  expect(("simulate fifo %s"):format(lengths), 1, ":1:", "no number")
  expect("simulate nothing.lua " .. lengths, 1, "no file nothing.lua")
  expect("simulate fifo", 2, "usage")
  for _, path in ipairs { lengths, policy, picture } do os.remove(path) end
end)

verb_test("quantize", "writes a folder and a GGUF file; what becomes of weights is in gguf_writing_spec", function()
  local folder = os.tmpname()
  os.remove(folder)
  expect(("quantize %s %s/small --to int4 lm_head=int8 --json"):format(tales, folder), 0, '"int4_128"', '"int8_row"')
  expect(("quantize %s %s/small --to int8"):format(tales, folder), 1, "--force")
  expect(("quantize %s/small %s/small.gguf --to q4_0"):format(folder, folder), 1, "GGUF has no type for")
  expect(("quantize %s %s/small.gguf --to q4_0"):format(tales, folder), 0, "36 as q4_0", "down_proj")
  expect(("run %s/small.gguf Once --max-new-tokens 2"):format(folder), 0)
  expect(("quantize %s %s/other --to q4_9"):format(tales, folder), 2, "q4_0")
  core.remove_path(folder, true, "test")
end)

verb_test("listen", "prints what is said, in four forms", function()
  local folder = folder_of.copy(t.golden "whisper-plain", { ["tokenizer.json"] = require("whisper_of").tokenizer() })
  local pl = require "perilune"
  local path = os.tmpname() .. ".wav"
  pl.sound.write(path, pl.random({ 16000 }, { seed = 3, low = -0.5, high = 0.5, axes = { "sample" } }))
  local asked = "--language en --model " .. folder
  expect(("listen %s %s"):format(path, asked), 0, "\n")
  expect(("listen %s %s --output srt"):format(path, asked), 0, "00:00:00,")
  expect(("listen %s %s --output vtt"):format(path, asked), 0, "WEBVTT")
  local out = expect(("listen - --model %s --output json --words <%s"):format(folder, path), 0)
  t.equal(pl.json.decode(out:match "{.*}").seconds, 1)
  t.equal(run(("listen %s %s 2>/dev/null"):format(path, asked)), run(("listen - %s 2>/dev/null"):format(asked), ("cat %s |"):format(path)))
  expect("listen", 2, "usage")
  expect(("listen %s %s --output mp3"):format(path, asked), 2, "expected text, srt, vtt, json")
  expect(("listen %s --model %s --language klingon"):format(path, folder), 2, "klingon")
  expect(("listen no/such.wav %s"):format(asked), 1, "no/such.wav")
  expect(("listen %s %s"):format(path, folder), 2, "is a model, no recording: say --model")
  os.remove(path)
end)

verb_test("listen", "of several recordings each line says whose it is, and one that fails does not end the others", function()
  local folder = folder_of.copy(t.golden "whisper-plain", { ["tokenizer.json"] = require("whisper_of").tokenizer() })
  local pl = require "perilune"
  local paths, alone = {}, {}
  local asked = "--language en --model " .. folder
  for i = 1, 2 do
    paths[i] = ("%s/%d.wav"):format(folder, i)
    pl.sound.write(paths[i], pl.random({ 40000 }, { seed = i, low = -0.5, high = 0.5, axes = { "sample" } }))
    alone[i] = expect(("listen %s %s"):format(paths[i], asked), 0):gsub("perilune: warning[^\n]*\n", "")
  end
  local out = expect(("listen %s no/such.wav %s %s"):format(paths[1], paths[2], asked), 1, "sound: no/such.wav")
  local told = { "", "" }
  for line in out:gmatch "[^\n]+" do
    for i, path in ipairs(paths) do
      if line:sub(1, #path + 2) == path .. ": " then told[i] = told[i] .. line:sub(#path + 3) .. "\n" end
    end
  end
  t.equal(told, alone)
  expect(("listen %s %s %s --output json"):format(paths[1], paths[2], asked), 0, '"recording":')
  expect(("listen %s %s %s --output srt --into %s"):format(paths[1], paths[2], asked, folder), 0)
  for i = 1, 2 do t.ok(core.read_file(("%s/%d.srt"):format(folder, i)):find "00:00:00,") end
  expect(("listen %s %s %s --output srt"):format(paths[1], paths[2], asked), 2, "say --into FOLDER")
  expect(("listen %s %s %s --into x"):format(paths[1], paths[1], asked), 2, "would both be written to")
  expect(("listen %s %s %s --follow"):format(paths[1], paths[2], asked), 2, "one recording")
end)

t.test("every verb has its test above", function()
  for _, name in ipairs(verbs.names) do t.ok(tested[name], "perilune " .. name .. " is not tested") end
end)
