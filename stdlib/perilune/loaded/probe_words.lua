-- Texts that the probe reads, and words as a vocabulary writes them.
local core = require "perilune.core"

local probe_words = {}

--- A sentence for everything that needs one.
probe_words.sentence = "Once upon a time there was an old man who lived in a little house near the forest."

--- Plain English first; then what a model of another language or of code would rather read.
probe_words.texts = {
  { name = "English", "Once upon a time there was an old man who lived in a little house near the forest.",
    "The weather was good, and the children played in the garden until their mother called them for dinner.",
    "I think the price is too high, but the people who work there are very friendly and helpful.",
    "When she came home in the evening, her father was sitting at the table with a letter in his hand.",
    "He did not know what to say, so he looked at the floor and waited for somebody else to speak.",
    "There are many reasons why the first part of the work took much longer than we had expected.",
    "In the middle of the night a strange noise woke him, and he went slowly down the stairs to the door.",
    "My brother has lived in this city for ten years, and he still thinks that the old streets are beautiful.",
    "You should never leave a fire without water near it, because the wind can change at any moment." },
  { name = "code", "def add(first, second):\n    result = first + second\n    return result\n\nfor i in range(10):\n    print(add(i, 1))" },
  { name = "German", "Es war einmal ein alter Mann, der wohnte mit seiner Frau in einem kleinen Haus am Rande des Waldes." },
  { name = "French", "Il était une fois un vieil homme qui vivait avec sa femme dans une petite maison près de la forêt." },
  { name = "Spanish", "Había una vez un hombre viejo que vivía con su mujer en una casa pequeña cerca del bosque." },
  { name = "Russian", "Жил-был старик со своей старухой в маленьком доме у самого леса, и было у них три сына." },
  { name = "Chinese", "从前有一个老人，他和他的妻子住在森林旁边的一座小房子里，他们没有孩子。" },
  { name = "Japanese", "昔々あるところに、おじいさんとおばあさんが住んでいました。おじいさんは山へ行きました。" },
  { name = "Arabic", "كان يا ما كان في قديم الزمان رجل عجوز يعيش مع زوجته في بيت صغير قرب الغابة." },
}

local everyday = [[the of and to in is was it for that on with as this but be are have from at not by one all were
  they we would there what about which when out so up if no my more some could time very will like do other who good
  did than then its can first only two just over also after our me much how well been most way year week day people
  work find every never last again new back little great place bad too made]]

local alike = [[i you he she it we they|me him her us them|my your his its our their|who which what when where how why|
  is was are were be been|has have had|do does did|can could will would shall should may might must|
  in on at from to of by with for into upon over under|and but or nor yet so|the a an this that these those|
  one two three four five six seven eight nine ten|not never always often ever sometimes|man woman boy girl child people|
  father mother brother sister son daughter wife husband|day night morning evening hour week month year|
  good bad great little small large old young new|very more most too less|here there now then|come go came went|
  see saw seen look looked|say said says tell told speak|make made take took give gave get got|house room home door place|
  first last next second third|hand head eye eyes heart face|before after since until while|some any all every each no many much few|
  up down out off away back|himself herself themselves|king queen lord lady sir|love hate fear hope|water fire air earth sea|life death|
  white black red green blue|think thought know knew believe|find found keep kept leave left|own same other another such|
  well ill better best|world country city town|because if though although unless|about above below between among]]

local marks = { "^##(.+)$", "^\226\150\129(.+)$", "^\196\160(.+)$", "^ (.+)$", "^(.+)</w>$" }

--- A piece without what says that a word begins, goes on or ends there.
---@param piece string
---@return string
function probe_words.bare(piece)
  for _, mark in ipairs(marks) do
    local inner = piece:match(mark)
    if inner then return inner end
  end
  return piece
end

--- The share of a plain sentence that a vocabulary does not know.
---@param tokenizer Tokenizer
---@return number
function probe_words.unknown_share(tokenizer)
  local unknown = tokenizer.specials.unk
  if not unknown then return 0 end
  local ids, count = tokenizer:ids(probe_words.sentence, { special = false }), 0
  for _, id in ipairs(ids) do if id == unknown then count = count + 1 end end
  return #ids > 0 and count / #ids or 0
end

-- The id of a word that is one piece in the middle of a text, or nil.
local function id_of(tokenizer, word, rows)
  local ids = tokenizer:ids("a " .. word, { special = false })
  local id = ids[#ids]
  if #ids == #tokenizer:ids("a", { special = false }) + 1 and id ~= tokenizer.specials.unk and id < rows then return id end
end

--- Ids of everyday words that are one piece, in the middle of a text.
---@param tokenizer Tokenizer
---@param rows integer ids are below
---@return integer[]
function probe_words.everyday(tokenizer, rows)
  local seen, list = {}, {}
  for word in everyday:gmatch "%S+" do
    local id = id_of(tokenizer, word, rows)
    if id and not seen[id] then seen[id], list[#list + 1] = true, id end
  end
  return list
end

--- Pairs of ids of words that stand in the same places of sentences: he and she, in and on, two and three.
---@param tokenizer Tokenizer
---@param rows integer ids are below
---@return integer[][] pairs { one, other }
---@return integer words how many they hold
function probe_words.alike(tokenizer, rows)
  local list, words = {}, 0
  for group in alike:gmatch "[^|]+" do
    local ids = {}
    for word in group:gmatch "%S+" do ids[#ids + 1] = id_of(tokenizer, word, rows) end
    words = words + #ids
    for _, a in ipairs(ids) do
      for _, b in ipairs(ids) do
        if a ~= b then list[#list + 1] = { a, b } end
      end
    end
  end
  return list, words
end

-- Letters that have a case: of the Latin, Greek and Cyrillic alphabets.
local function is_word(text)
  if #text < 2 or text:find "[%z\1-\96\123-\127]" then return false end
  return not text:find "[\213-\255]" and not text:find "\194"
end

-- Id → the word it writes, small letters; "" for what writes none.
local function word_of(tokenizer, id, in_bytes)
  local fine, piece = pcall(tokenizer.piece, tokenizer, id)
  if not fine then return "" end
  if in_bytes and piece:find "[\128-\255]" then piece = tokenizer:decode { id } end
  local word = core.change_case(probe_words.bare(piece), "lower")
  return is_word(word) and word or ""
end

local endings = { "s", "ed", "d", "ing", "ly", "er" }

-- Words that begin alike, one after the other in the order of the alphabet.
local function add_beginnings(by_word, words, add)
  table.sort(words)
  for i = 2, #words do
    if #words[i - 1] >= 5 and words[i]:sub(1, 5) == words[i - 1]:sub(1, 5) then add(by_word[words[i - 1]][1], by_word[words[i]][1]) end
  end
end

--- Pairs of ids whose pieces write the same word, or a word and a form of it; where a vocabulary has few of
--- these, also words that begin alike.
---@param tokenizer Tokenizer
---@param rows integer ids are below
---@return integer[][] pairs { one, other }
function probe_words.related(tokenizer, rows)
  local in_bytes = tokenizer.kind == "bpe" or tokenizer.kind == "tiktoken"
  local by_word, words, list = {}, {}, {}
  for id = 0, math.min(rows, tokenizer.max_id + 1) - 1 do
    local word = word_of(tokenizer, id, in_bytes)
    if word ~= "" then
      if not by_word[word] then by_word[word], words[#words + 1] = {}, word end
      table.insert(by_word[word], id)
    end
  end
  local function add(a, b) list[#list + 1] = { a, b } end
  for _, word in ipairs(words) do
    local ids = by_word[word]
    for i = 2, #ids do add(ids[1], ids[i]) end
    for _, ending in ipairs(#word > 2 and endings or {}) do
      local form = by_word[word .. ending]
      if form then add(ids[1], form[1]) end
    end
  end
  if #list < 300 then add_beginnings(by_word, words, add) end
  return list
end

return probe_words
