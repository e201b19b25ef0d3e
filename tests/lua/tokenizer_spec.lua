-- Tokenizers from Lua: pieces with their places, pairs, explain, and the ways a path is read.
local pl = require "perilune"
local t = require "spec"

local kBert, kGpt2 = "tests/golden/bert-sequence", "tests/golden/gpt2-plain"

local function pluck(list, key)
  local out = {}
  for i, item in ipairs(list) do out[i] = item[key] end
  return out
end

-- What a function prints, line by line.
local function printed(fn)
  local lines, before = {}, print
  rawset(_G, "print", function(line) lines[#lines + 1] = line end)
  local ok, problem = pcall(fn)
  rawset(_G, "print", before)
  if not ok then error(problem, 0) end
  return lines
end

t.test("every token says where it came from", function()
  local tok = pl.tokenizer(kBert)
  local text = "Squash, who  up"
  local tokens = tok:tokens(text)
  t.equal(pluck(tokens, "id"), tok:ids(text))
  t.equal({ tokens[1].piece, tokens[1].first, tokens[1].word, tokens[1].special }, { "[CLS]", nil, nil, true })
  local covered, word = {}, 0
  for i = 2, #tokens - 1 do
    local token = tokens[i]
    covered[i - 1] = text:sub(token.first, token.last)
    t.equal(token.word == word or token.word == word + 1, true)
    word = token.word
    t.equal(token.special, false)
  end
  t.equal(table.concat(covered), "Squash,whoup")
  t.equal(word, 4)
end)

t.test("a pair's tokens say which text they are of", function()
  local tok = pl.tokenizer(kBert)
  local tokens = tok:tokens { text = "a", pair = "b" }
  local of = {}
  for i, token in ipairs(tokens) do of[i] = token.pair and "pair" or token.first and "text" or "put in" end
  t.equal(of, { "put in", "text", "put in", "pair", "put in" })
  local batch = tok:encode { { text = "a", pair = "b" }, "a" }
  t.equal(batch.lengths, { 5, 3 })
  t.equal(pluck(tok:tokens({ text = "a", pair = "b" }, { special = false }), "word"), { 1, 1 })
end)

t.test("explain shows pieces, ids and the text they came from", function()
  local tok = pl.tokenizer(kGpt2)
  local lines = printed(function() tok:explain "so\n I" end)
  t.equal(#lines, #tok:ids "so\n I" + 1)
  t.equal(lines[1]:match "^%s+#%s+id%s+piece%s+word%s+bytes%s+text$" ~= nil, true)
  local last = lines[#lines]
  t.equal(last:find("4-5", 1, true) ~= nil or last:find('"I"', 1, true) ~= nil, true)
  local pair = table.concat(printed(function() pl.tokenizer(kBert):explain { text = "a", pair = "b" } end), "\n")
  t.equal(pair:find('pair 1-1  "b"', 1, true) ~= nil, true)
  t.equal(select(2, pair:gsub("put in", "")), 3)
end)

t.test("special tokens in the text are plain text where asked", function()
  local tok = pl.tokenizer(kBert)
  local sep = tok.specials.sep
  t.equal(tok:ids("[SEP]", { special = false }), { sep })
  local plain = tok:ids("[SEP]", { special = false, recognize = false })
  t.equal(#plain > 1, true)
  for _, id in ipairs(plain) do t.equal(id == sep, false) end
end)

t.test("text, ids and back", function()
  local tok = pl.tokenizer(kGpt2)
  for _, text in ipairs { "so I can't mention it", "  two  spaces\n", "日本語 😼", "" } do
    t.equal(tok:decode(tok:ids(text)), text)
    local decoder, parts = tok:decoder(), {}
    for i, id in ipairs(tok:ids(text)) do parts[i] = decoder:push(id) end
    t.equal(table.concat(parts) .. decoder:flush(), text)
  end
  t.raises_text(function() tok:decode { 1e6 } end, "there is no token 1000000")
end)

t.test("adding tokens", function()
  local tok = pl.tokenizer(kBert)
  local highest = tok.max_id
  t.equal(tok:add { "<new>", special = true }, { highest + 1 })
  t.equal(tok:ids("<new>", { special = false }), { highest + 1 })
  t.equal({ tok.max_id, tok:is_special(highest + 1), tok:piece(highest + 1) }, { highest + 1, true, "<new>" })
end)

t.test("what a path may be", function()
  t.equal(pl.tokenizer(kBert).kind, "wordpiece")
  t.equal(pl.tokenizer(kBert .. "/tokenizer.json").kind, "wordpiece")
  t.equal(pl.tokenizer(kBert .. "/vocab.txt").kind, "wordpiece")
  t.equal(pl.tokenizer(kGpt2).kind, "bpe")
  local ids = pl.tokenizer(kGpt2):ids "will surely be received"
  for _, name in ipairs { "vocab.json", "merges.txt", "vocab.json + merges.txt" } do
    t.equal(pl.tokenizer(kGpt2 .. "/" .. name):ids "will surely be received", ids)
  end
  t.raises_text(function() pl.tokenizer "tests" end, "the folder has no tokenizer")
  t.raises_text(function() pl.tokenizer(kBert, { patern = "x" }) end, "patern", "pattern")
end)
