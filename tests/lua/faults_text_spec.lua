-- Tokenizers' settings and places, as published: what was found wrong in use, each kind as a table of cases.
local pl = require "perilune"
local t = require "spec"
local folder_of = require "folder_of"

-- A tokenizer.json with these parts, in a folder with these settings.
local function tokenizer(parts, settings)
  local json = { '"version":"1.0"' }
  for _, name in ipairs { "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model" } do
    json[#json + 1] = ('"%s":%s'):format(name, parts[name] or (name == "added_tokens" and "[]" or "null"))
  end
  return pl.tokenizer(folder_of.files { ["tokenizer.json"] = "{" .. table.concat(json, ",") .. "}",
    ["tokenizer_config.json"] = settings or "{}" })
end

local function added(list)
  local out = {}
  for i, token in ipairs(list) do
    out[i] = ('{"id":%d,"content":"%s","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}'):format(token[1], token[2])
  end
  return "[" .. table.concat(out, ",") .. "]"
end

-- ---------------------------------------------------------------- spaces before punctuation

local models = {
  bpe = '{"type":"BPE","vocab":{"a":0,"Ġ":1,".":2},"merges":[]}',
  wordpiece = '{"type":"WordPiece","unk_token":"?","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"a":0,"?":1,".":2}}',
  unigram = '{"type":"Unigram","unk_id":0,"vocab":[["a",0.0],["▁",-1.0],[".",-1.0]]}',
  wordlevel = '{"type":"WordLevel","unk_token":"?","vocab":{"a":0,"?":1,".":2}}',
}
local decoders = { bpe = '{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}',
  wordpiece = '{"type":"WordPiece","prefix":"##","cleanup":false}', unigram = '{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}' }
local ids = { bpe = { 0, 1, 2 }, unigram = { 0, 1, 2 }, wordpiece = { 0, 2 }, wordlevel = { 0, 2 } }
local yes = '"clean_up_tokenization_spaces":true'
local anyway = '"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output":'

for _, case in ipairs {
  { "bpe", yes, "a ." }, { "wordpiece", yes, "a." }, { "unigram", yes, "a." }, { "wordlevel", yes, "a." },
  { "bpe", yes .. ',"tokenizer_class":"PreTrainedTokenizerFast"', "a ." }, { "bpe", yes .. ',"tokenizer_class":"GPT2Tokenizer"', "a ." },
  { "bpe", yes .. "," .. anyway .. "true", "a." }, { "bpe", anyway .. "true", "a ." },
  { "bpe", yes .. ',"tokenizer_class":"LukeTokenizer"', "a." }, { "bpe", yes .. ',"tokenizer_class":"LukeTokenizer",' .. anyway .. "false", "a ." },
  { "wordpiece", '"clean_up_tokenization_spaces":false', "a ." }, { "wordpiece", '"tokenizer_class":"BertTokenizer"', "a ." },
} do
  t.test(("cleaning up: %s with %s"):format(case[1], case[2]), function()
    local tok = tokenizer({ model = models[case[1]], decoder = decoders[case[1]] }, "{" .. case[2] .. "}")
    t.equal(tok:decode(ids[case[1]]), case[3])
    local decoder, parts = tok:decoder(), {}
    for i, id in ipairs(ids[case[1]]) do parts[i] = decoder:push(id) end
    t.equal(table.concat(parts) .. decoder:flush(), case[3])
  end)
end

t.test("cleaning up: not where byte pairs come as vocab.json or as a SentencePiece model", function()
  for _, name in ipairs { "gpt2-plain", "llama-gqa" } do
    local tok = pl.tokenizer(folder_of.copy("tests/golden/" .. name, { ["tokenizer.json"] = false,
      ["tokenizer_config.json"] = folder_of.changed("tests/golden/" .. name .. "/tokenizer_config.json", "{", "{" .. yes .. ",") }))
    t.equal(tok:decode(tok:ids("x != y , ok .", { special = false })), "x != y , ok .", name)
  end
end)

-- ---------------------------------------------------------------- added tokens

local four = '{"type":"BPE","unk_token":"<unk>","vocab":{"<unk>":0,"a":1,"b":2," ":3},"merges":[]}'

for _, case in ipairs {   -- added tokens, settings, a text, its ids, how many warnings
  { { { 6, "<x>" }, { 9, "<y>" } }, "{}", "a<x>b<y>", { 1, 4, 2, 5 }, 2 },
  { { { 4, "<x>" }, { 5, "<y>" } }, "{}", "a<x>b<y>", { 1, 4, 2, 5 }, 0 },
  { { { 9, "<y>" }, { 6, "<x>" } }, "{}", "<x><y>", { 5, 4 }, 2 },
  { { { 2, "b" }, { 7, "<x>" } }, "{}", "b<x>", { 2, 4 }, 1 },
  { {}, '{"added_tokens_decoder":{"8":{"content":"<x>","special":true}}}', "<x>", { 4 }, 1 },
  { { { 4, "<x>" } }, '{"pad_token":"<p>","sep_token":"<s>"}', "<s><p>", { 5, 6 }, 2 },
} do
  t.test("ids of added tokens go on after the vocabulary: " .. added(case[1]):gsub(",\"single.-special\":true", "") .. case[2], function()
    local tok = tokenizer({ model = four, added_tokens = added(case[1]) }, case[2])
    t.equal(tok:ids(case[3]), case[4])
    t.equal(#tok.warnings, case[5], table.concat(tok.warnings, "\n"))
  end)
end

-- ---------------------------------------------------------------- BERT's settings

local lines = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\na\n"

t.test("vocab.txt: text is put in lower case unless the settings say otherwise, with a word where it has capitals", function()
  local function of(settings) return pl.tokenizer(folder_of.files { ["vocab.txt"] = lines, ["tokenizer_config.json"] = settings }) end
  t.equal(of '{"tokenizer_class":"BertTokenizer"}':ids("A", { special = false }), { 6 })
  t.ok(table.concat(of '{"tokenizer_class":"BertTokenizer"}'.warnings, "\n"):find("do_lower_case", 1, true))
  t.equal(of '{"do_lower_case":false}':ids("A", { special = false }), { 5 })
  t.equal(#of '{"do_lower_case":false}'.warnings, 0)
end)

local bert_model = '{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,' ..
  '"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"a":4}}'
local around = '{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]}'

for _, case in ipairs {   -- settings, types of a pair
  { '"tokenizer_class":"BertTokenizer"', { 0, 0, 0, 1, 1 } }, { '', { 0, 0, 0, 1, 1 } },
  { '"model_input_names":["input_ids","token_type_ids","attention_mask"]', { 0, 0, 0, 1, 1 } },
  { '"model_input_names":["input_ids","attention_mask"]', { 0, 0, 0, 0, 0 } },
  { '"tokenizer_class":"BertTokenizer","model_input_names":["input_ids","attention_mask"]', { 0, 0, 0, 0, 0 } },
  { '"tokenizer_class":"DistilBertTokenizerFast"', { 0, 0, 0, 0, 0 } },
  { '"tokenizer_class":"DistilBertTokenizer","model_input_names":["input_ids","token_type_ids"]', { 0, 0, 0, 1, 1 } },
} do
  t.test("types of a pair with the settings " .. case[1], function()
    local tok = tokenizer({ model = bert_model, post_processor = around }, "{" .. case[1] .. "}")
    t.equal(tok:encode({ text = "a", pair = "a" }).type_ids:tolist(), case[2])
    local lined = pl.tokenizer(folder_of.files { ["vocab.txt"] = lines:lower():gsub("%[.-%]", string.upper), ["tokenizer_config.json"] = "{" .. case[1] .. "}" })
    t.equal(lined:encode({ text = "a", pair = "a" }).type_ids:tolist(), case[2])
  end)
end

-- ---------------------------------------------------------------- keys of the settings that change ids

local cased = '{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":false}'
local cased_model = '{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,' ..
  '"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"[MASK]":4,"A":5,"a":6,"é":7,"e":8,"日":9}}'

for _, case in ipairs {   -- settings, ids of "A é 日A", warnings: asked of transformers 5.24 (tokenizer.json keeps case)
  { '"tokenizer_class":"BertTokenizer"', { 6, 8, 9, 6 }, 1 }, { '"tokenizer_class":"PreTrainedTokenizerFast"', { 5, 7, 9, 5 }, 0 },
  { '"tokenizer_class":"BertTokenizer","do_lower_case":false', { 5, 7, 9, 5 }, 0 },
  { '"tokenizer_class":"ElectraTokenizerFast","do_lower_case":true', { 6, 8, 9, 6 }, 0 },
  { '"tokenizer_class":"DistilBertTokenizer","do_lower_case":true,"tokenize_chinese_chars":false', { 6, 8, 1 }, 0 },
  { '"tokenizer_class":"BertTokenizer","do_lower_case":false,"strip_accents":true', { 5, 8, 9, 5 }, 0 },
  { '"tokenizer_class":"BertTokenizer","do_lower_case":false,"never_split":["x"]', { 5, 7, 9, 5 }, 1 },
} do
  t.test("BERT's normalizer is made of the settings: " .. case[1], function()
    local tok = tokenizer({ model = cased_model, normalizer = cased, pre_tokenizer = '{"type":"BertPreTokenizer"}' }, "{" .. case[1] .. "}")
    t.equal(tok:ids "A é 日A", case[2])
    t.equal(#tok.warnings, case[3], table.concat(tok.warnings, "\n"))
  end)
end

local spaced = '{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}'
local byte_model = '{"type":"BPE","vocab":{"a":0,"<":1,"s":2,">":3,"Ġ":4,"<s>":5},"merges":[]}'

for _, case in ipairs {   -- settings, ids of "a<s>"
  { '"tokenizer_class":"GPT2Tokenizer"', { 0, 1, 2, 3 } }, { '"tokenizer_class":"GPT2Tokenizer","add_prefix_space":true', { 4, 0, 1, 2, 3 } },
  { '"tokenizer_class":"PreTrainedTokenizerFast"', { 4, 0, 1, 2, 3 } }, { '"tokenizer_class":"PreTrainedTokenizerFast","add_prefix_space":false', { 4, 0, 1, 2, 3 } },
  { '"tokenizer_class":"GPT2Tokenizer","bos_token":"<s>"', { 0, 5 } },
  { '"tokenizer_class":"GPT2Tokenizer","bos_token":"<s>","split_special_tokens":true', { 0, 1, 2, 3 } },
  { '"tokenizer_class":"GPT2Tokenizer","extra_special_tokens":["<s>"]', { 0, 5 } },
  { '"tokenizer_class":"GPT2Tokenizer","extra_special_tokens":{"image_token":"<s>"}', { 0, 5 } },
} do
  t.test("byte-level pairs with the settings " .. case[1], function()
    t.equal(tokenizer({ model = byte_model, pre_tokenizer = spaced }, "{" .. case[1] .. "}"):ids "a<s>", case[2])
  end)
end

-- ---------------------------------------------------------------- places of composed characters

local letters = '{"type":"BPE","unk_token":"<unk>","vocab":{"<unk>":0,"가":1,"나":2,"요":3,"각":4,"가나":5,"é":6,"ệ":7,"ガ":8,"x":9,"ǖ":10},"merges":[["가","나"]]}'
local ga, na, yo, gak = "\225\132\128\225\133\161", "\225\132\130\225\133\161", "\225\132\139\225\133\173", "\225\132\128\225\133\161\225\134\168"
local acute, circumflex, below = "\204\129", "\204\130", "\204\163"

for _, case in ipairs {   -- normalizer, text, id:first-last of each token
  { "NFKC", ga .. na .. yo .. gak, "5:1-12 3:13-18 4:19-27" },
  { "NFC", "e" .. acute, "6:1-3" }, { "NFC", "xe" .. acute .. "x", "9:1-1 6:2-4 9:5-5" },
  { "NFC", "e" .. below .. circumflex, "7:1-5" }, { "NFC", "e" .. circumflex .. below, "7:1-5" }, { "NFC", "ê" .. below, "7:1-4" },
  { "NFC", "u\204\136\204\132", "10:1-5" }, { "NFC", "é", "6:1-2" },
  { "NFKC", "\239\189\182\239\190\158x", "8:1-6 9:7-7" }, { "NFC", "x" .. ga, "9:1-1 1:2-7" },
  { "NFKC", ga .. "\225\134\168" .. ga, "4:1-9 1:10-15" },
} do
  t.test(("places of composed characters: %s of %s"):format(case[1], case[2]), function()
    local tok, out = tokenizer({ model = letters, normalizer = ('{"type":"%s"}'):format(case[1]) }), {}
    for i, token in ipairs(tok:tokens(case[2])) do out[i] = ("%d:%d-%d"):format(token.id, token.first, token.last) end
    t.equal(table.concat(out, " "), case[3])
  end)
end

-- ---------------------------------------------------------------- texts in generation

t.test("a stop text that a special token spells stops at it; other special tokens go on", function()
  local m = pl.load("tests/golden/gpt2-plain", { compute = "f32" })
  local turn, step = m.tokenizer.specials.eos, 0
  local stop = m.tokenizer:piece(turn)
  local function forced() return { max_new_tokens = 6, do_sample = false, eos_token_id = {}, processors = { function(row)
    step = step + 1
    row:set(-1e9)
    row:set(100, { vocab = step == 3 and turn or 5 })
  end } } end
  local free = m:generate("a", forced())
  step = 0
  local o = forced()
  o.stop = { "never", stop }
  local stopped = m:generate("a", o)
  t.equal({ #free.ids, free.finish_reason }, { 6, "length" })
  t.equal({ stopped.finish_reason, stopped.text:find(stop, 1, true) }, { "stop", nil })
  t.ok(#stopped.ids <= 3, "ends at the token")
  m:close()
end)

t.test("a prompt of one token has no log-probabilities, and says so", function()
  local m = pl.load("tests/golden/gpt2-plain", { compute = "f32" })
  t.equal(m:generate({ ids = { 5 } }, { max_new_tokens = 1, do_sample = false, prompt_logprobs = true }).prompt_logprobs, {})
  t.equal(#m:generate({ ids = { 5, 6, 7 } }, { max_new_tokens = 1, do_sample = false, prompt_logprobs = true }).prompt_logprobs, 2)
  t.equal(m:generate({ ids = { 5 } }, { max_new_tokens = 1, do_sample = false }).prompt_logprobs, nil)
  m:close()
end)

t.test("a prompt beyond the context keeps half of the positions, however long the answer may be", function()
  local m = pl.load("tests/golden/gpt2-plain", { compute = "f32" })
  local prompt = {}
  for i = 1, m.max_tokens + 10 do prompt[i] = 5 + i % 7 end
  for new, kept in pairs { [4] = m.max_tokens - 4, [m.max_tokens] = math.ceil(m.max_tokens / 2), [10 * m.max_tokens] = math.ceil(m.max_tokens / 2) } do
    local r = m:generate({ ids = prompt }, { max_new_tokens = new, do_sample = false, context = "truncate_left", eos_token_id = {} })
    t.equal(r.prompt_tokens, kept, "max_new_tokens = " .. new)
  end
  m:close()
end)

-- ---------------------------------------------------------------- files that multiply

local doubling = '{"type":"Replace","pattern":{"String":"a"},"content":"aa"}'

t.test("a decoder that multiplies text is stopped, like a normalizer", function()
  for _, shape in ipairs { "%s", '{"type":"Fuse"},%s', '{"type":"Sequence","decoders":[%s]}' } do
    local steps = shape:gsub("%%s", (doubling .. ","):rep(39) .. doubling)
    local tok = tokenizer { model = four, decoder = '{"type":"Sequence","decoders":[' .. steps .. "]}" }
    local err = t.raises_text(function() tok:decode { 1 } end, "decoded text is too long")
    t.ok(err)
  end
  local tok = tokenizer { model = four, decoder = '{"type":"Replace","pattern":{"Regex":"a"},"content":"' .. ("x"):rep(2 ^ 20 + 100) .. '"}' }
  t.raises_text(function() tok:decode { 1 } end, "decoded text is too long")
end)

t.test("lists of steps have a bound", function()
  local many = (doubling .. ","):rep(2000) .. doubling
  for part, value in pairs {
    normalizer = '{"type":"Sequence","normalizers":[' .. many .. "]}", decoder = '{"type":"Sequence","decoders":[' .. many .. "]}",
    pre_tokenizer = '{"type":"Sequence","pretokenizers":[' .. ('{"type":"Whitespace"},'):rep(2000) .. '{"type":"Whitespace"}]}',
    post_processor = '{"type":"Sequence","processors":[' .. ('{"type":"ByteLevel"},'):rep(2000) .. '{"type":"ByteLevel"}]}' } do
    t.raises_text(function() tokenizer { model = four, [part] = value } end, "2001 steps, at most 1024")
  end
end)

t.test("remove the folders", folder_of.remove_all)
