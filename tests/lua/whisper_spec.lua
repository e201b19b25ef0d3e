-- Whisper from three kinds of files, damaged ones, and what it makes of sound.
local pl = require "perilune"
local core = require "perilune.core"
local t = require "spec"
local folder_of = require "folder_of"
local whisper_of = require "whisper_of"

local golden = t.golden "whisper-plain"
local published = pl.load(golden, { compute = "f32" })

local function features(seed)
  return core.log_mel(pl.random({ 12000 }, { seed = seed, low = -0.5, high = 0.5, axes = { "sample" } }), 80, 100)
end

local function batch(...)
  local list = {}
  for i, seed in ipairs { ... } do list[i] = features(seed) end
  return pl.batch(nil, { inputs = { features = list } })
end

local function logits(m) return m:forward(batch(1), { rows = "all", decoder = { { 3, 7, 250 } } }).logits end

t.test("CTranslate2's file is the same model", function()
  local folder = folder_of.files { ["model.bin"] = whisper_of.ctranslate2(golden), ["config.json"] = '{"suppress_ids": [1, 2], "alignment_heads": [[1, 0]]}' }
  local m = pl.load(folder, { compute = "f32" })
  t.ok(logits(m):equal(logits(published)))
  t.equal({ m.family, rawget(m, "state_").generation.suppress_tokens[2] }, { "whisper", 2 })
  m:close()
end)

t.test("whisper.cpp's file is the same model", function()
  local path = os.tmpname() .. ".bin"
  core.write_file(path, (whisper_of.ggml(golden)))
  local m = pl.load(path, { compute = "f32", tokenizer = false })
  t.ok(logits(m):equal(logits(published)))
  m:close()
  t.raises(function() pl.tokenizer(path) end, "has 2 tokens and 300 ids, as no published Whisper")
  os.remove(path)
end)

-- A matrix of a file as numbers.
local function numbers(path, name) return pl.open(path).tensor(name):tolist() end

local function flat(rows)
  local out = {}
  for _, row in ipairs(rows) do for _, x in ipairs(row) do out[#out + 1] = x end end
  return out
end

t.test("whole numbers and their scales are what CTranslate2 means by them", function()
  for _, store in ipairs { "int8", "int16" } do
    local bytes, meant = whisper_of.ctranslate2(golden, store)
    local folder = folder_of.files { ["model.bin"] = bytes, ["config.json"] = "{}" }
    local fused = meant["encoder/layer_1/self_attention/linear_0/weight"]
    for i, name in ipairs { "q_proj", "k_proj", "v_proj" } do
      local own = flat(numbers(folder .. "/model.bin", ("encoder.layers.1.self_attn.%s.weight"):format(name)))
      t.equal(#own, 48 * 48)
      for j, x in ipairs(own) do t.near(x, fused[(i - 1) * 48 * 48 + j], 1e-6 * math.max(1, math.abs(x))) end
    end
    local m = pl.load(folder, { compute = "f32" })
    local off = (logits(m):detach() - logits(published):detach()):abs():max()
    t.ok(off > 0 and off < 0.2, ("%s: logits are off by %g"):format(store, off))
    m:close()
  end
end)

t.test("blocks of whisper.cpp are what they stand for", function()
  for _, store in ipairs { "q4_0", "q5_1", "q8_0" } do
    local bytes, meant = whisper_of.ggml(golden, store)
    local path = os.tmpname() .. ".bin"
    core.write_file(path, bytes)
    t.ok(next(meant) ~= nil)
    for name, values in pairs(meant) do
      for j, x in ipairs(flat(numbers(path, name))) do t.near(x, values[j], 1e-7) end
    end
    local m = pl.load(path, { compute = "f32", tokenizer = false })
    local off = (logits(m):detach() - logits(published):detach()):abs():max()
    t.ok(off > 0 and off < 0.5, ("%s: logits are off by %g"):format(store, off))
    m:close()
    os.remove(path)
  end
end)

t.test("damaged files are errors", function()
  local path = os.tmpname()
  for _, whole in ipairs { (whisper_of.ctranslate2(golden)), (whisper_of.ggml(golden)) } do
    for _, length in ipairs { 3, 17, 40, 80, 5000, 200000, #whole - 1 } do
      core.write_file(path, whole:sub(1, length))
      local file, err = pl.try(pl.open, path)
      local read = file and pl.try(function() for _, name in ipairs(file.names) do file.tensor(name) end end)
      t.ok(not file or read == nil, ("cut to %d: opened"):format(length))
      if not file then t.ok(type(err) == "table" and err.code ~= "internal", tostring(err)) end
    end
    for at = 1, 400, 7 do   -- a byte of the head changed
      core.write_file(path, whole:sub(1, at - 1) .. string.char((whole:byte(at) + 129) % 256) .. whole:sub(at + 1))
      local file, err = pl.try(pl.open, path)
      t.ok(file or type(err) == "table" and err.code ~= "internal", tostring(err))
    end
  end
  os.remove(path)
end)

t.test("recordings in a batch are as alone", function()
  local decoder = { { 3, 7 }, { 3, 9 } }
  local both = published:forward(batch(1, 2), { rows = "last", decoder = decoder }).logits
  for i = 1, 2 do
    local alone = published:forward(batch(i), { rows = "last", decoder = { decoder[i] } }).logits
    t.ok(both:at { batch = i }:equal(alone:at { batch = 1 }))
  end
end)

t.test("one head, bands of another number, layers with relu: as published", function()
  local one = t.golden "whisper-one-head"
  local stored, expected, w = pl.open(one .. "/expected.safetensors"), core.read_json(one .. "/expected.json"), pl.load(one, { compute = "f32" })
  local wave = stored.tensor "wave"
  local heard = core.log_mel(wave:rename { [wave.shape[1].name] = "sample" }, 33, 102)
  local out = w:forward(pl.batch(nil, { inputs = { features = { heard } } }), { rows = "all", decoder = { expected.decoder_ids } }).logits:tolist()
  for i, row in ipairs(stored.tensor "logits":tolist()) do for j, x in ipairs(row) do t.near(out[i][j], x, 1e-3) end end
  w:close()
end)

t.test("a sound beyond the model's positions is an error", function()
  local long = pl.batch(nil, { inputs = { features = { core.log_mel(pl.zeros({ 32000 }, { axes = { "sample" } }), 80, 200) } } })
  t.raises(function() published:forward(long, { decoder = { { 3 } } }) end, "position")
end)

-- ---------------------------------------------------------------- what is made of it

local folder = folder_of.copy(golden, { ["tokenizer.json"] = whisper_of.tokenizer() })
local m = pl.load(folder, { compute = "f32" })

local function sound(seconds, seed) return pl.random({ seconds * 16000 }, { seed = seed or 1, low = -0.5, high = 0.5, axes = { "sample" } }) end

t.test("a recording becomes segments whose times go forward", function()
  local heard = {}
  local hear = pl.pipeline("automatic-speech-recognition", m, { language = "german", return_timestamps = "word", no_speech_threshold = 1,
    temperature = 0, on_segment = function(s) heard[#heard + 1] = s end })
  local answer = hear(sound(3.5))
  t.equal(answer.language, "de")
  t.near(answer.seconds, 3.5, 1e-9)
  t.equal(#heard, #answer.segments)
  local last, texts = 0, {}
  for i, s in ipairs(answer.segments) do
    t.ok(s.from >= last - 1e-9 and s.to > s.from and s.to <= 3.5 + 1e-9, ("segment %d: %g to %g"):format(i, s.from, s.to))
    last, texts[i] = s.from, s.text
    local joined = {}
    for w, word in ipairs(s.words or {}) do
      t.ok(word.to >= word.from)
      joined[w] = word.text
    end
    if s.words then t.equal(table.concat(joined), s.text) end
  end
  t.equal(answer.text, table.concat(texts))
  t.equal(tostring(answer), answer.text)
end)

-- What a transcript says, with its times and log-probabilities to the bit.
local function told(answer)
  local list = {}
  for i, s in ipairs(answer.segments) do list[i] = { s.from, s.to, s.text, s.logprob, s.no_speech, s.temperature } end
  return list
end

t.test("windows side by side say what each says alone, to the bit", function()
  local most = 0
  local function heard(batch_size, alone, beams)
    local o = { language = "en", temperature = beams and 0 or { 0, 0.5 }, best_of = 2, seed = 1, batch_size = batch_size, num_beams = beams,
      no_speech_threshold = 1, policy = function(queue)
        most = math.max(most, #queue)
        return alone and { queue[1] } or queue
      end }
    return told(pl.pipeline("automatic-speech-recognition", m, o)(sound(4, 7)))
  end
  for _, beams in ipairs { false, 3 } do
    local alone = heard(2, true, beams or nil)
    t.ok(#alone > 0)
    most = 0
    for _, batch_size in ipairs { 2, 3, 8 } do t.equal(heard(batch_size, false, beams or nil), alone, batch_size .. " at once") end
    t.ok(most >= 4, most .. " windows at once")
  end
end)

-- The best answer of a beam search, its scores after all rules, looked for one forward at a time.
local function searched(transcriber, heard, count, room)
  local s = transcriber.special
  local prompt = { s.start, s.languages.en, s.transcribe, s.no_times }
  local masked = {}
  for _, list in ipairs { transcriber.rules.suppress, s.never } do for _, id in ipairs(list) do masked[id] = true end end
  local running, finished = { { ids = {}, score = 0 } }, {}
  for step = 1, room - 3 do
    local candidates = {}
    for b, beam in ipairs(running) do
      local ids = { unpack(prompt) }
      for _, id in ipairs(beam.ids) do ids[#ids + 1] = id end
      local row = m:forward(pl.batch(nil, { inputs = { features = { heard } } }), { decoder = { ids } }).logits:at({ batch = 1 }):copy()
      for id in pairs(masked) do row:set(-math.huge, { vocab = id }) end
      for _, id in ipairs(step == 1 and transcriber.rules.begin or {}) do row:set(-math.huge, { vocab = id }) end
      for i, x in ipairs(row:log_softmax("vocab"):tolist()) do candidates[#candidates + 1] = { beam = b, id = i - 1, score = beam.score + x } end
    end
    table.sort(candidates, function(a, b) return a.score > b.score end)
    local next_ones = {}
    for i = 1, 2 * count do
      local ids = { unpack(running[candidates[i].beam].ids) }
      ids[#ids + 1] = candidates[i].id
      local ends = candidates[i].id == s.stop or step == room - 3
      if ends and i <= count then finished[#finished + 1] = { ids = ids, score = candidates[i].score / (#ids + 3) } end
      if not ends and #next_ones < count then next_ones[#next_ones + 1] = { ids = ids, score = candidates[i].score } end
    end
    running = next_ones
    if #finished >= count or #running == 0 then break end
  end
  table.sort(finished, function(a, b) return a.score > b.score end)
  return finished[1]
end

t.test("beams find what a search by hand finds", function()
  local transcribe, window, submit = require "perilune.speech.transcribe", require "perilune.speech.window", require "perilune.serve.submit"
  local transcriber, longer = transcribe.of(m, "test"), 0
  for seed = 1, 4 do
    local engine, heard = submit.engine(), features(seed)
    local asked = window.submit(transcriber, engine, heard, { language = "en", task = "transcribe", times = false, temperature = 0, num_beams = 3 })
    while asked.line.state ~= "done" do engine:advance() end
    local own, wanted = window.result(transcriber, asked), searched(transcriber, heard, 3, math.floor(transcriber.positions / 2))
    if wanted.ids[#wanted.ids] == transcriber.special.stop then wanted.ids[#wanted.ids] = nil end
    t.equal(own.ids, wanted.ids, "seed " .. seed)
    t.near(asked.line:result().score, wanted.score, 1e-4)
    longer = longer + #own.ids
    engine:close()
  end
  t.ok(longer > 8, "the searches found next to nothing")
end)

t.test("recordings of a list are heard together, each as alone", function()
  local together, steps = 0, 0
  local o = { language = "en", temperature = { 0, 0.5 }, seed = 3, best_of = 2, no_speech_threshold = 1, policy = function(queue)
    local rows = 0
    for _ in pairs(queue) do rows = rows + 1 end
    together, steps = math.max(together, rows), steps + 1
    return queue
  end }
  local list, alone, ends = { sound(2.5, 1), sound(1, 2), pl.zeros({ 20000 }, { axes = { "sample" } }), sound(4, 3), "no/such.wav" }, {}, {}
  for i = 1, 4 do alone[i] = told(pl.pipeline("automatic-speech-recognition", m, o)(list[i])) end
  local steps_alone = steps
  steps, together = 0, 0
  o.on_progress = function(done, total) ends[#ends + 1] = { done, total } end
  local answers = pl.pipeline("automatic-speech-recognition", m, o)(list)
  for i = 1, 4 do t.equal(told(answers[i]), alone[i], "recording " .. i) end
  t.ok(answers[5].error:find "no/such.wav")
  t.ok(together >= 3 and steps < steps_alone, ("%d rows at once, %d steps instead of %d"):format(together, steps, steps_alone))
  for i = 2, #ends do t.ok(ends[i][1] >= ends[i - 1][1] and ends[i][2] == 5) end
  t.ok(#ends > 5 and ends[#ends][1] <= 5)
end)

t.test("an answer that stays doubtful is built on unless it was drawn at a high temperature, as published", function()
  local function heard(o)
    o.language, o.no_speech_threshold = "en", 1
    return told(pl.pipeline("automatic-speech-recognition", m, o)(sound(3, 4)))
  end
  local sure = heard { temperature = 0, compression_ratio_threshold = 1e9, logprob_threshold = -1e9 }
  t.equal(heard { temperature = 0, compression_ratio_threshold = -1, logprob_threshold = -1e9 }, sure)
  local alone = heard { temperature = 0, compression_ratio_threshold = 1e9, logprob_threshold = -1e9, condition_on_previous_text = false }
  t.ok(pl.json.encode(alone) ~= pl.json.encode(sure), "what was said before has changed nothing")
end)

t.test("a pipeline hears one recording after another in the same memory", function()
  local hear = pl.pipeline("automatic-speech-recognition", m, { language = "en", temperature = 0, no_speech_threshold = 1 })
  local first = told(hear(sound(2.5, 3)))
  local kept = hear.engine_
  t.ok(kept)
  t.equal(told(hear(sound(2.5, 3))), first)
  t.ok(rawequal(hear.engine_, kept))
  t.raises_text(function() hear "no/such.wav" end, "no/such.wav")
  collectgarbage()
  t.equal(told(hear { sound(2.5, 3), sound(1, 4) }[1]), first)
  t.ok(rawequal(hear.engine_, kept), "a recording that fails leaves it")
  local inner
  pl.pipeline("automatic-speech-recognition", m, { language = "en", temperature = 0, no_speech_threshold = 1,
    on_segment = function() inner = inner or told(hear(sound(2.5, 3))) end })(sound(2.5, 3))
  t.equal(inner, first)
  local own, begun
  own = pl.pipeline("automatic-speech-recognition", m, { language = "en", temperature = 0, no_speech_threshold = 1,
    on_segment = function()
      if begun then return end
      begun = true
      begun = told(own(sound(2.5, 3)))
    end })
  own(sound(2.5, 3))
  t.equal(begun, first, "inside itself")
end)

t.test("seconds heard are told, and a function that fails ends its recording alone", function()
  local ends, count = {}, 0
  local hear = pl.pipeline("automatic-speech-recognition", m, { language = "en", temperature = 0, no_speech_threshold = 1,
    on_progress = function(done, total) ends[#ends + 1] = { done, total } end,
    on_segment = function(_, input)
      count = count + 1
      if type(input) == "table" then error "not this one" end
    end })
  hear(sound(2.5))
  t.equal(ends[#ends], { 2.5, 2.5 })
  t.ok(count > 0 and ends[1][1] == 0)
  local answers = hear { { samples = sound(2.5) }, sound(2.5) }
  t.ok(answers[1].error:find "not this one")
  t.ok(#answers[2].segments > 0)
  local heard = {}   -- segments as a generator gives them
  for s in coroutine.wrap(function() pl.pipeline("automatic-speech-recognition", m, { language = "en", temperature = 0,
    no_speech_threshold = 1, on_segment = coroutine.yield })(sound(2.5)) end) do heard[#heard + 1] = s.text end
  t.equal(#heard, #answers[2].segments)
end)

t.test("silence is passed over, a language is found", function()
  local hear = pl.pipeline("automatic-speech-recognition", m, { temperature = 0 })
  t.equal(hear(pl.zeros({ 40000 }, { axes = { "sample" } })).segments, {})
  local language = hear(sound(1)).language
  t.ok(language == "en" or language == "de", tostring(language))
end)

t.test("files, rates and lists", function()
  local path = os.tmpname() .. ".wav"
  pl.sound.write(path, sound(1, 3), { store = "f32" })
  local hear = pl.pipeline("automatic-speech-recognition", m, { temperature = 0, language = "en", no_speech_threshold = 1 })
  local alone = hear(path)
  t.equal(hear(sound(1, 3)).text, alone.text)
  t.equal(hear(pl.sound.open(path)).text, alone.text)
  local list = hear { path, "no/such.wav", { samples = sound(1, 3), rate = 16000 } }
  t.equal({ list[1].text, list[3].text }, { alone.text, alone.text })
  t.ok(list[2].error:find "no/such.wav")
  os.remove(path)
end)

t.test("a recording that is being written is heard as it grows, told before more of it is waited for", function()
  local samples, path = sound(3.5, 8), os.tmpname() .. ".wav"
  pl.sound.write(path, samples)
  local bytes = core.read_file(path)
  local o = { language = "en", temperature = 0, no_speech_threshold = 1 }
  local whole = told(pl.pipeline("automatic-speech-recognition", m, o)(path))
  core.write_file(path, bytes:sub(1, 44 + 2 * 16000 * 2))   -- two seconds of it
  local heard, written = 0, nil
  o.follow, o.patience = true, 0.3
  o.on_segment = function()
    heard = heard + 1
    if written then return end
    written = heard
    core.write_file(path, bytes)
  end
  t.equal(told(pl.pipeline("automatic-speech-recognition", m, o)(path)), whole)
  t.ok(written == 1 and heard > 1)
  os.remove(path)
end)

t.test("what cannot be asked is an error", function()
  local function make(o) return function() pl.pipeline("automatic-speech-recognition", m, o) end end
  t.raises(make { language = "klingon" }, 'option language: "klingon" is none that the model knows')
  t.raises(make { temperature = -1 }, "option temperature")
  t.raises(make { return_timestamps = "words" }, 'expected true or "word"')
  t.raises(make { chunk = 1 }, "unknown option")
  local hear = pl.pipeline("automatic-speech-recognition", m)
  t.raises(function() hear(7) end, "expected the path of a sound")
  t.raises(function() pl.pipeline("automatic-speech-recognition", t.golden "bart-plain") end, "startoftranscript")
end)
