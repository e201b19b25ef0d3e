-- The command line as people use it: names in place of paths, wrong values, what is not there, locks, the
-- doctor's words.
local pl = require "perilune"
local core = require "perilune.core"
local doctor = require "perilune.program.doctor"
local folder_of = require "folder_of"
local t = require "spec"

local program = os.getenv "PERILUNE" or arg[-1]
local golden, tales, reviews = t.golden "llama-gqa", "scripts/models/tales", "scripts/models/reviews"

local function run(arguments)
  local pipe = assert(io.popen(("%s %s 2>&1 < /dev/null; echo \"status=$?\""):format(program, arguments)))
  local text = pipe:read "*a"
  pipe:close()
  local out, status = text:match "^(.*)status=(%d+)\n$"
  return out, tonumber(status)
end

-- Arguments, exit status, what is said; a part that begins with "!" is not said.
local cases = {
  { "run " .. tales .. " x --temperature -1", 2, "temperature" }, { "run " .. tales .. " x --top-p 7", 2, "top_p" },
  { "run " .. tales .. " x --max-new-tokens -1", 2, "max_new_tokens" }, { "run " .. tales .. " x --device gpu", 2, '"cuda"' },
  { "run " .. tales .. " x --compute float16", 2, '"bf16"' }, { "run " .. tales .. " x --threads 0", 2, "threads" },
  { "run " .. tales .. " x --max-tokens 5", 2, "--max-new-tokens" }, { "run " .. tales .. " x --temp 1", 2, "--temperature" },
  { "run " .. tales .. " '" .. ("a word "):rep(600) .. "' --max-new-tokens 4", 1, "positions", "truncate_left" },
  { "run " .. tales .. " '" .. ("a word "):rep(600) .. "' --max-new-tokens 4 --context truncate_left", 0 },
  { "run " .. tales .. " x --context sideways", 2, "context" }, { "run minlm x", 1, '"minilm"' }, { "run no/such/folder x", 1, "is not there" },
  { "bench " .. golden .. " --repeats 0", 2, "--repeats" }, { "bench " .. golden .. " --new 0", 2, "--new" }, { "bench " .. golden .. " --prompt -3", 2, "--prompt" },
  { "bench " .. golden .. " --prompt 4 --new 1 --repeats 1 --threads 1", 0, "-  ", "!  0  " }, { "bench " .. golden .. " --threads x", 2, "--threads" },
  { "compare no/such/place", 1, "is not there", "!no reference values" }, { "compare tests/shell", 1, "no reference values" },
  { "chat " .. t.golden "bert-base", 1, "writes no text", "head is base", "!--raw" },
  { "check " .. golden .. " --lock no/such/lock", 1, "is not there", "!differs" }, { "doctor " .. golden .. " --tokenizer smolm2", 1, '"smollm2"' },
  { "help tasks", 0, "question-answering" }, { "help ner", 0, "aggregation_strategy" }, { "help masks", 0, "A mask says" }, { "help QueueEntry", 0, "waited_ms" },
  { "help windws", 2, "windows" }, { "help pl.lod", 2, "pl.load" }, { "help Tensr", 2, "Tensor" }, { "help 'pad token'", 2, "spoken of" }, { "help", 0, "Topics: batches" }, { "help topics", 0, "batches\ndevices\nerrors" }, { "lengths no/such/file --tokenizer " .. tales, 1, "no file" },
  { "lengths README.md --tokenizer tale", 1, "!stdlib/" },
}

t.test("wrong values are wrong usage, what is not there is said, words lead on", function()
  for _, case in ipairs(cases) do
    local out, status = run(case[1])
    t.ok(status == case[2], ("perilune %s: exit status %s, expected %d:\n%s"):format(case[1]:sub(1, 90), tostring(status), case[2], out))
    for i = 3, #case do
      local part, absent = case[i]:gsub("^!", "")
      local there = out:find(part, 1, true) ~= nil
      t.ok(there == (absent == 0), ("perilune %s: %q in:\n%s"):format(case[1]:sub(1, 90), case[i], out))
    end
    t.ok(not out:find("stdlib/", 1, true), out)
  end
end)

t.test("lengths: --max is in the JSON, and no bucket is wider than the model", function()
  local file = os.tmpname()
  core.write_file(file, ("one two three\n"):rep(8) .. ("many words and more "):rep(400) .. "\n")
  local r = core.json((run(("lengths %s --tokenizer %s --max 16 --json"):format(file, tales))), "lengths")
  t.equal({ r.cut.max, r.cut.texts }, { 16, 1 })
  local positions = pl.load(tales).max_tokens
  t.ok(r.max > positions and r.buckets[#r.buckets] <= positions and r.suggested <= positions)
  os.remove(file)
  local tok = pl.tokenizer(tales)
  t.equal(pl.lengths({ ("many words "):rep(400) }, tok, { max_tokens = 64 }).buckets, { 64 })
end)

t.test("a chat inside of a session is refused before anything is loaded", function()
  local pipe = io.popen(("printf ':chat %s\\n' | %s 2>&1"):format(reviews, program))
  local out = pipe:read "*a"
  pipe:close()
  t.ok(out:find("perilune chat " .. reviews, 1, true) and not out:find("Talking", 1, true), out)
end)

t.test("lock: what computed it is in it, and none is written over unasked", function()
  local file = os.tmpname()
  os.remove(file)
  local _, first = run(("lock %s --output %s"):format(golden, file))
  local said, second = run(("lock %s --output %s"):format(golden, file))
  local _, third = run(("lock %s --output %s --force"):format(golden, file))
  t.equal({ first, second, third }, { 0, 1, 0 })
  t.ok(said:find("is there already", 1, true) and said:find("--force", 1, true), said)
  local lock = core.read_json(file)
  t.equal({ lock.engine.version, lock.engine.compute, type(lock.engine.tier), lock.engine.device }, { core.version, "f32", "string", "cpu" })
  lock.engine.version = "0.0.0"
  core.write_file(file, core.write_json(lock))
  local out, status = run(("check %s --lock %s"):format(golden, file))
  t.equal(status, 0, "another build is no change of the model")
  t.ok(out:find("written with version 0.0.0", 1, true), out)
  os.remove(file)
end)

t.test("doctor: NaN weights are found first, and words cannot be read the wrong way round", function()
  local out = run("doctor " .. reviews)
  for line in out:gmatch "[^\n]+" do
    local title = line:match "^ok%s+(.*)$"
    for _, bad in ipairs { "out of memory", "slow", "circles, ", "cut off$", "senseless" } do
      t.ok(not (title and title:find("^" .. bad)), line)
    end
  end
  t.ok(out:find("memory suffices", 1, true), out)
  local weights = pl.open(golden .. "/model.safetensors")
  local all, name = weights.tensors, weights.names[1]
  local path = os.tmpname()
  all[name] = all[name] * (0 / 0)
  pl.save(path, all)
  local folder = folder_of.copy(golden, { ["model.safetensors"] = core.read_file(path) })
  local list = doctor.examine(pl.load(folder, { compute = "f32" }))
  t.equal({ list[1].level, list[1].symptom }, { "problem", "answers are not numbers" })
  t.ok(list[1].means:find(name, 1, true), list[1].means)
  for _, finding in ipairs(list) do t.ok(not finding.means:find("stranger", 1, true), "the tokenizer is not blamed") end
  os.remove(path)
end)

t.test("doctor: the emulator is named with its own variable", function()
  local list = {}
  doctor.speed({ device = "emulator", threads = core.available_threads() }, list)
  t.equal(list[1].level, "problem")
  t.ok(list[1].todo:find("PERILUNE_DEVICE", 1, true) and not list[1].todo:find("PERILUNE_CPU", 1, true))
end)

t.test("heads: the ones that a checkpoint holds are named, and another kind on a stored one warns", function()
  t.raises_text(function() pl.load(t.golden "bert-base", { head = "token" }) end, "hold no head token", "they hold base")
  t.raises_text(function() pl.load(t.golden "bert-base", { head = "tokn" }) end, '"token"')
  local m = pl.load(t.golden "bert-sequence", { head = "base" })
  t.equal(m.warnings, pl.load(t.golden "bert-sequence").warnings)
  local odd = pl.load(t.golden "bert-sequence", { head = "token" })
  local told = false
  for _, text in ipairs(odd.warnings) do told = told or text:find("the stored head is sequence", 1, true) ~= nil end
  t.ok(told, table.concat(odd.warnings, "\n"))
end)

t.test("families: what there is, as a table and as text", function()
  local list = pl.families()
  local llama
  for i, one in ipairs(list) do
    t.ok(i == 1 or list[i - 1].name < one.name)
    if one.name == "llama" then llama = one end
  end
  t.ok(llama.model_types[1] and #llama.heads > 1 and tostring(list):find("qwen2", 1, true))
end)

t.test("a pad token can be chosen; other roles raise with a way out", function()
  local tok = pl.tokenizer(t.golden "gpt2-plain")
  local before = { tok.specials.eos, tok.specials.bos }
  tok.specials.pad = 5
  t.equal(tok.specials.pad, 5)
  local batch = tok:encode { "a b c d e", "a" }
  t.equal(batch:padded({ side = "right" }).ids:at({ batch = 2, seq = -1 }):item(), 5)
  t.equal(pl.collate({ { ids = { 1, 2 } }, { ids = { 1 } } }, { ids = "pad" }, { tokenizer = tok }).ids:at({ batch = 2, seq = 2 }):item(), 5)
  tok.specials.pad = 7   -- and again, for a batch that is there
  t.equal(batch:padded({ side = "right" }).ids:at({ batch = 2, seq = -1 }):item(), 7)
  t.raises_text(function() tok.specials.pad = 1e6 end, "there is no id")
  t.raises_text(function() tok.specials.pad = "x" end, "pad")
  t.raises_text(function() tok.specials.mask = 5 end, "only pad", "tokenizer_config.json")
  t.equal({ tok.specials.eos, tok.specials.bos }, before)
end)
