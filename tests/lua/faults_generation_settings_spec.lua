-- What generation_config.json says: honoured or named, wrong values told with file and key, ends of turns.
local pl = require "perilune"
local core = require "perilune.core"
local folder_of = require "folder_of"
local t = require "spec"

local tales = "scripts/models/tales"
local file = "generation_config.json"

local function with(settings, files)
  files = files or {}
  files[file] = type(settings) == "table" and core.write_json(settings) or settings
  return folder_of.copy(tales, files)
end

local function says(list, ...)
  local all = table.concat(list, "\n")
  for i = 1, select("#", ...) do
    if not all:find(select(i, ...), 1, true) then return false end
  end
  return true
end

local function expect_says(list, ...)
  t.ok(says(list, ...), ("no text says %s in:\n%s"):format(table.concat({ ... }, " … "), table.concat(list, "\n")))
end

t.test("stop_strings end a text, as a caller's stop does", function()
  local m = pl.load(with { eos_token_id = 2, do_sample = false, max_new_tokens = 40, stop_strings = { "." } }, { compute = "f32" })
  t.equal(m.warnings, {})
  local plain = m:generate("Once upon a time", { stop = "." })
  local r = m:generate "Once upon a time"
  t.equal({ r.finish_reason, r.text, r.stop }, { "stop", plain.text, "." })
  t.ok(#m:generate("Once upon a time", { stop = "no such text" }).text > #r.text, "a caller's stop replaces the file's")
  t.equal(m:generate("Once upon a time", { stop_strings = "," }).text, m:generate("Once upon a time", { stop = "," }).text)
  t.raises_text(function() m:generate("x", { stop = ".", stop_strings = "," }) end, "contradict", "stop_strings")
  t.equal(pl.load(with { stop_strings = ".", do_sample = false }, { compute = "f32" }):generate("Once upon a time").text, plain.text)
end)

t.test("a stop text that is one special token ends a text", function()
  local m = pl.load(with { do_sample = false, max_new_tokens = 8, eos_token_id = {}, stop_strings = { "</s>" } }, { compute = "f32" })
  local function force(row) row:set(1e4, { vocab = 2 }) end
  local r = m:generate("Once upon a time", { processors = force })
  t.equal({ r.finish_reason, #r.ids }, { "stop", 1 })
end)

t.test("keys that nothing applies are named once; those that change no answer are not", function()
  local m = pl.load(with { eos_token_id = 2, renormalize_logits = true, watermarking_config = { bias = 2.5 }, no_such_key = 3, max_time = 2.5,
    stop_string = { "." }, token_healing = false, use_cache = true, transformers_version = "5.24.0", output_scores = true, cache_implementation = "static",
    _from_model_config = true, return_dict_in_generate = true, pad_token_id = -1 })
  expect_says(m.warnings, file .. ": watermarking_config is not applied", "no_such_key is not applied",
    "max_time is not applied", 'stop_string is not applied: no option has this name; did you mean "stop_strings"?')
  t.equal(#m.warnings, 4, table.concat(m.warnings, "\n"))
end)

t.test("what is not applied is refused with its reason where a caller asks for it, and never stops a file's", function()
  for _, case in ipairs { { "max_time", 2.5, "would change with the batch", "stop_when" }, { "max_time", "2s", "would change with the batch" },
    { "watermarking_config", { bias = 2.5 }, "no watermark", "processors" },
    { "dola_layers", "high", "early layers", "m:trace" }, { "constraints", { 1 }, "objects of a program", "force_words" },
    { "forced_decoder_ids", { { 1, 5 } }, "left it out", "decoder" }, { "token_healing", true, "last token stays" } } do
    local key, value = case[1], case[2]
    local m = pl.load(with { [key] = value }, { compute = "f32" })
    expect_says(m.warnings, file .. ": " .. key .. " is not applied: ", case[3])
    t.equal(#m:generate("Once", { max_new_tokens = 2 }).ids, 2)
    for _, call in ipairs { function(o) m:generate("Once", o) end, function(o) m:stream("Once", o) end, function(o) pl.engine(m):submit("Once", o) end } do
      local err = t.raises_text(function() call { [key] = value } end, key, "is not applied: ", case[3])
      t.equal(err.code, "unsupported")
      if case[4] then t.ok(err.hint:find(case[4], 1, true), err.hint) end
    end
    m:close()
  end
  local m = pl.load(tales, { compute = "f32" })
  t.equal(#m:generate("Once", { max_new_tokens = 1, token_healing = false }).ids, 1, "asking for nothing is no fault")
  m:close()
end)

-- All keys of GenerationConfig of transformers 5.24.0 and 4.49.0.
local published = [[
  _commit_hash _from_model_config assistant_confidence_threshold assistant_early_exit assistant_ensemble_weight
  assistant_lookbehind bad_words_ids begin_suppress_tokens bos_token_id cache_config cache_implementation
  compile_config constraints continuous_batching_config decoder_start_token_id disable_compile diversity_penalty
  do_sample dola_layers early_stopping encoder_no_repeat_ngram_size encoder_repetition_penalty eos_token_id
  epsilon_cutoff eta_cutoff exponential_decay_length_penalty force_words_ids forced_bos_token_id
  forced_decoder_ids forced_eos_token_id generation_kwargs guidance_scale is_assistant length_penalty low_memory
  max_cache_len max_length max_matching_ngram_size max_new_tokens max_time min_length min_new_tokens min_p
  no_repeat_ngram_size num_assistant_tokens num_assistant_tokens_schedule num_beam_groups num_beams
  num_return_sequences output_attentions output_hidden_states output_logits output_scores pad_token_id
  penalty_alpha prefill_chunk_size prompt_lookup_num_tokens remove_invalid_values renormalize_logits
  repetition_penalty return_dict_in_generate return_legacy_cache sequence_bias speculation_type stop_strings
  suppress_tokens target_lookbehind temperature token_healing top_h top_k top_p transformers_version typical_p
  use_cache use_mtp watermarking_config]]

t.test("every key of the published class is applied, refused with a reason, or changes no answer", function()
  local rules = require "perilune.serve.generation_rules"
  for key in published:gmatch "%S+" do
    local said = table.concat(rules.warnings({ [key] = 1 }, file, {}), "\n")
    t.ok(not said:find "no option has this name", said)
    if said ~= "" then t.ok(rules.not_applied[key], key) end
    if rules.published[key] or rules.not_applied[key] then t.ok(rules.spec[key], key) end
  end
  expect_says(rules.warnings({ no_such_key = 1 }, file, {}), "no option has this name")
end)

t.test("searches of a file give way to what the caller says", function()
  local groups = pl.load(with { eos_token_id = 2, num_beams = 4, num_beam_groups = 2, diversity_penalty = 1.0, max_new_tokens = 6 })
  t.equal(#groups.warnings, 0, table.concat(groups.warnings, "\n"))
  local own = { num_beams = 4, num_beam_groups = 2, diversity_penalty = 1.0 }
  t.equal(groups:generate("Once").ids, groups:generate("Once", own).ids)
  t.ok(groups:generate("Once", { num_beams = 3 }).text)            -- two groups do not divide three beams
  t.ok(groups:generate("Once", { temperature = 1, seed = 1 }).text)
  t.raises_text(function() groups:generate("Once", { num_beam_groups = 3 }) end, "3 groups do not divide 4 beams")
  local looks = pl.load(with { eos_token_id = 2, penalty_alpha = 0.6, top_k = 4, max_new_tokens = 6 })
  local plain = { penalty_alpha = 0, do_sample = false, top_k = 0 }
  t.differ(looks:generate("Once upon a time", { max_new_tokens = 24 }).ids, looks:generate("Once upon a time", t.with(plain, { max_new_tokens = 24 })).ids)
  t.ok(looks:generate("Once", { num_beams = 2 }).text)
  -- A file that draws does not contradict a caller who searches.
  local drawing = pl.load(with { eos_token_id = 2, do_sample = true, temperature = 0.8, top_p = 0.9, max_new_tokens = 6 })
  local greedy = pl.load(with { eos_token_id = 2, max_new_tokens = 6 })
  t.equal(drawing:generate("Once", { num_beams = 3 }).text, greedy:generate("Once", { num_beams = 3 }).text)
  t.raises_table(function() drawing:generate("Once", { num_beams = 3, temperature = 0.8 }) end, "temperature", "num_beams=3")
  t.raises_table(function() drawing:generate("Once", { num_beams = 3, do_sample = true }) end, "do_sample", "num_beams=3")
  t.ok(looks:generate("Once", { do_sample = true, seed = 3, n = 2 }).sequences)
end)

-- Wrong values: key, JSON, what is expected; `sampled`: told only where tokens are drawn.
local wrong = {
  { "max_new_tokens", '"2"', "a whole number" }, { "max_new_tokens", "2.5", "a whole number" }, { "max_new_tokens", "-1", "a whole number" },
  { "max_length", "0", "above 0" }, { "do_sample", '"yes"', "true or false" }, { "do_sample", "1", "true or false" },
  { "temperature", "true", "a number" }, { "temperature", "-1", "above 0", sampled = true }, { "top_k", "[2]", "a whole number" },
  { "top_p", "2.5", "at most 1", sampled = true }, { "min_p", "-1", "0 to 1", sampled = true }, { "typical_p", "0", "above 0", sampled = true },
  { "epsilon_cutoff", "2", "below 1", sampled = true }, { "eta_cutoff", "false", "a number" }, { "repetition_penalty", "0", "above 0" },
  { "repetition_penalty", '"1.1"', "a number" }, { "encoder_repetition_penalty", "-1", "above 0" }, { "num_beams", "0", "above 0" },
  { "num_beams", "true", "a whole number" }, { "num_return_sequences", "1.5", "above 0" }, { "no_repeat_ngram_size", "false", "0 or more" },
  { "eos_token_id", '"2"', "a whole number" }, { "eos_token_id", "[2.5]", "ids" }, { "eos_token_id", '["a"]', "ids" }, { "eos_token_id", "true", "a whole number" },
  { "bad_words_ids", '[["a"]]', "lists of ids" }, { "bad_words_ids", "[2, 3]", "lists of ids" }, { "bad_words_ids", "[[]]", "none of them empty" },
  { "bad_words_ids", "5", "a table" }, { "suppress_tokens", '{"a": 1}', "ids" }, { "suppress_tokens", "[-1]", "ids" },
  { "begin_suppress_tokens", '"x"', "a table" }, { "forced_eos_token_id", "2.5", "a whole number" }, { "sequence_bias", '[[2], 3]', "ids, bias" },
  { "sequence_bias", '{"(2,)": 3.0}', "ids, bias" }, { "sequence_bias", '[[[2], "x"]]', "ids, bias" },
  { "exponential_decay_length_penalty", "[2]", "{ tokens, factor }" }, { "exponential_decay_length_penalty", '["a", 2]', "{ tokens, factor }" },
  { "stop_strings", "[2]", "texts that are not empty" }, { "stop_strings", '""', "texts that are not empty" }, { "stop_strings", "true", "a string" },
  { "early_stopping", '"soon"', 'true, false or "never"' }, { "early_stopping", "1", "true or false" },
  { "min_new_tokens", "true", "0 or more" }, { "min_length", "-1", "0 or more" },
}

pl.on_warning(nil)

t.test("a wrong value is told when the model is loaded, and by the call that would use it, with file and key", function()
  for _, case in ipairs(wrong) do
    local key, json, expected = case[1], case[2], case[3]
    local what = key .. " = " .. json
    local m = pl.load(with(('{ "%s": %s }'):format(key, json)), { compute = "f32", threads = 1 })
    t.ok(says(m.warnings, file .. ": " .. key, expected), what .. ": " .. table.concat(m.warnings, "\n"))
    local own = { do_sample = case.sampled or nil }
    if key ~= "max_new_tokens" and key ~= "max_length" then own.max_new_tokens = 2 end
    local fine, err = pcall(m.generate, m, "Once", own)
    t.equal(fine, false, what .. " was used")
    t.equal(err.code, "option", what .. ": " .. tostring(err))
    t.ok(tostring(err):find(file .. ": " .. key .. ": expected", 1, true), what .. ": " .. tostring(err))
    if case.sampled then t.ok(m:generate("Once", { max_new_tokens = 2, do_sample = false }).text, what .. " matters to draws alone") end
    m:close()
  end
end)

t.test("a caller's value stands in for a wrong one of the file", function()
  local m = pl.load(with '{ "max_new_tokens": "2", "repetition_penalty": true, "eos_token_id": [2.5] }', { compute = "f32" })
  t.equal(#m:generate("Once", { max_new_tokens = 2, repetition_penalty = 1.1, eos_token_id = 2, do_sample = false }).ids, 2)
end)

t.test("a caller's wrong value gets the same words", function()
  local m = pl.load(tales, { compute = "f32" })
  for _, case in ipairs { { "bad_words_ids", { "word" } }, { "sequence_bias", { { 2 } } }, { "suppress_tokens", { -1 } }, { "top_p", 2 }, { "min_p", -1 },
    { "temperature", 0 }, { "eos_token_id", -1 }, { "exponential_decay_length_penalty", { 1 } }, { "stop", { "" } }, { "early_stopping", "soon" },
    { "length_penalty", math.huge }, { "begin_suppress_tokens", { "x" } }, { "forced_eos_token_id", { {} } }, { "sequence_bias", { 5, 6 } },
    { "sequence_bias", { true } }, { "sequence_bias", { { "a", "b" } } }, { "sequence_bias", { a = 1 } }, { "sequence_bias", { { "a", 1 }, 3 } },
    { "force_words_ids", { 5 } }, { "force_words_ids", { { "a" } } }, { "force_words", { 5 } }, { "force_words", { { "a" } } }, { "force_words", { a = "b" } },
    { "bad_words", { 5 } }, { "bad_words", { "" } }, { "dry_sequence_breakers", { 5 } }, { "stop", { 5 } } } do
    local raised = t.raises_text(function() m:generate("Once", { max_new_tokens = 1, [case[1]] = case[2] }) end, "option " .. case[1] .. ": expected")
    t.equal(raised.code, "option")
  end
end)

t.test("a file that says to draw and not from how many means the 50 best, as published; a caller has the last word", function()
  local m = pl.load(with { eos_token_id = 2, do_sample = true, temperature = 50.0 }, { compute = "f32" })
  local function drawn(own)
    own.n, own.seed, own.max_new_tokens = 1000, 1, 1
    local seen, count = {}, 0
    for _, one in ipairs(m:generate("Once", own).sequences) do
      if not seen[one.ids[1]] then seen[one.ids[1]], count = true, count + 1 end
    end
    return count
  end
  local first = drawn {}
  t.ok(first <= 50 and first > 30, first)
  t.ok(drawn { top_k = 0 } > 100)
  t.ok(drawn { top_k = 3 } <= 3)
  m:close()
end)

-- The answer of transformers 5.24 to a case of tests/faults/ask_generation.py.
t.test("renormalize_logits makes log-probabilities of what rules left to beams", function()
  local settings = { max_new_tokens = 6, eos_token_id = { 39, 39, 11 }, repetition_penalty = 0.5, encoder_no_repeat_ngram_size = 2,
    renormalize_logits = true, num_beams = 2, do_sample = false, length_penalty = 2, early_stopping = true, decoder_start_token_id = 0 }
  local folder = folder_of.copy(t.golden "t5-gated-untied", { [file] = core.write_json(settings) })
  local m = pl.load(folder, { compute = "f32", tokenizer = false })
  local ids = { 112, 105, 202, 172, 229 }
  t.equal(m:generate({ ids = ids }).ids, { 67, 67, 67, 67, 67, 147 })
  t.equal(m:generate({ ids = ids }, { renormalize_logits = false }).ids, { 67, 67, 0, 0, 0, 0 })
  m:close()
end)

t.test("of a sequence that sequence_bias names twice the last bias counts, as published", function()
  local m = pl.load(t.golden "gpt2-plain", { compute = "f32", tokenizer = false })
  local r = m:generate({ ids = { 55, 142, 28, 75 } }, { max_new_tokens = 8, suppress_tokens = { 142 }, do_sample = false, eos_token_id = {},
    sequence_bias = { { { 261 }, -5 }, { { 261 }, 4.5 }, { { 92, 142 }, -5 } } })
  t.equal(r.ids, { 261, 261, 261, 261, 261, 261, 261, 261 })
  m:close()
end)

-- ---------------------------------------------------------------- ends of turns

local chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
local plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"

t.test("what a template ends turns with stops an answer, a token or not; check warns", function()
  local turn_end = require "perilune.chat.turn_end"
  local m = pl.load(folder_of.copy(tales, { ["chat_template.jinja"] = chatml }), { compute = "f32" })
  t.equal({ turn_end.id(m.tokenizer), turn_end.text(m.tokenizer) }, { nil, "<|im_end|>" })
  expect_says(m.warnings, 'ends a turn with "<|im_end|>", which is no special token')
  expect_says(pl.check(m).warnings, "which is no special token")
  local own = {}
  turn_end.add(own, m)
  t.equal(own.stop, { "<|im_end|>" })
  own = { stop = "a" }
  turn_end.add(own, m)
  t.equal(own.stop, { "<|im_end|>", "a" })
  own = { eos_token_id = 5 }
  turn_end.add(own, m)
  t.equal(own, { eos_token_id = 5 }, "who says where a text ends is believed")
  m = pl.load(folder_of.copy(tales, { ["chat_template.jinja"] = plain }), { compute = "f32" })
  t.equal(turn_end.text(m.tokenizer), "\nuser:")
end)

t.test("the vocabulary's tokens that end turns stop an answer to messages", function()
  local turn_end = require "perilune.chat.turn_end"
  local m = pl.load(folder_of.copy(t.golden "llama-gqa"), { tokenizer = false })
  local tok = pl.tokenizer(t.golden "llama-gqa")
  local ids = tok:add { "<|im_end|>", "<|eot_id|>", "<|end|>", special = true }
  local holder = { tokenizer = tok }
  t.equal(turn_end.stops(holder, { eos_token_id = 2 }), { ids[1], ids[2], ids[3], 2 })
  t.equal(turn_end.stops(holder, { eos_token_id = { 2, ids[1], ids[2], ids[3] } }), nil)
  tok:add { "<|return|>", special = true }
  t.equal(turn_end.among(ids[3], turn_end.vocabulary(tok)), false, "<|end|> ends a thought where there is <|return|>")
  m:close()
end)

t.test("settings that cannot come true are warned of", function()
  local m = pl.load(with { eos_token_id = 2, suppress_tokens = { 2 }, forced_bos_token_id = 99999, max_new_tokens = 100000, stop_strings = { "<|im_end|>" } })
  expect_says(pl.check(m).warnings, "suppress_tokens holds 2, which is in eos_token_id", "forced_bos_token_id names id 99999", "beyond the model's",
    "stop_strings has <|im_end|>, which is no token")
end)

t.test("remove the folders", folder_of.remove_all)

-- What transformers 5.24.0 gives (tests/judges/few_answers.py), less what it repeats: answers whose score is that of a
-- beam that never lived, -1e9 divided by its length.
t.test("beams give the answers that there are, say so and count the rest", function()
  local m = pl.load "tests/golden/gpt2-plain"
  for _, case in ipairs {
    { { 9 }, { 9 }, { "9 9 9" }, { -6.0408782958984375 } },
    { { 9 }, { 10, 11 }, { "9 11 11", "9 11 10", "9 10 11" }, { -5.547775745391846, -6.177436828613281, -6.2267231941223145 } },
    { { 9 }, { 1 }, { "9 1" }, { -6.093428134918213 } },
    { { 10, 11 }, { 1 }, { "11 1", "10 1" }, { -5.363199234008789, -6.360766887664795 } },
    { { 10, 11 }, { 9 }, { "11 9 9", "10 9 9" }, { -5.858667850494385, -6.173858165740967 } },
  } do
    local function only(list)
      local allowed = {}
      for _, id in ipairs(list) do allowed[id] = true end
      local others = {}
      for id = 0, m.vocab_size - 1 do others[#others + 1] = not allowed[id] and id or nil end
      return others
    end
    local warned = {}
    pl.on_warning(function(text) warned[#warned + 1] = text end)
    local r = m:generate({ ids = { 5, 6, 7 } }, { num_beams = 3, num_return_sequences = 3, max_new_tokens = 3, eos_token_id = 1,
      processors = function(logits, state)
        for _, id in ipairs(only(state.step == 0 and case[1] or case[2])) do logits:set(-math.huge, { vocab = id }) end
        return logits
      end })
    pl.on_warning(nil)
    t.equal(#r.sequences, #case[3])
    for i, one in ipairs(r.sequences) do
      t.equal(table.concat(one.ids, " "), case[3][i])
      t.ok(math.abs(one.score - case[4][i]) < 1e-4, one.score)
    end
    t.equal(r.missing_sequences, #case[3] < 3 and 3 - #case[3] or nil)
    t.equal(warned, #case[3] < 3 and { ("beams found %d of 3 answers: the rules leave no others"):format(#case[3]) } or {})
  end
  m:close()
end)
