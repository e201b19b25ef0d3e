-- The tokens that tell a model of the Whisper kind what to do: start, language, task, times.
local raise = require "perilune.base.raise"
local names_of = require "perilune.base.names_of"
local core = require "perilune.core"

local special = {}

-- Names of languages for people, by their code in tokens.
local names = { en = "english", zh = "chinese", de = "german", es = "spanish", ru = "russian", ko = "korean", fr = "french",
  ja = "japanese", pt = "portuguese", tr = "turkish", pl = "polish", ca = "catalan", nl = "dutch", ar = "arabic", sv = "swedish",
  it = "italian", id = "indonesian", hi = "hindi", fi = "finnish", vi = "vietnamese", he = "hebrew", uk = "ukrainian", el = "greek",
  ms = "malay", cs = "czech", ro = "romanian", da = "danish", hu = "hungarian", ta = "tamil", no = "norwegian", th = "thai",
  ur = "urdu", hr = "croatian", bg = "bulgarian", lt = "lithuanian", la = "latin", mi = "maori", ml = "malayalam", cy = "welsh",
  sk = "slovak", te = "telugu", fa = "persian", lv = "latvian", bn = "bengali", sr = "serbian", az = "azerbaijani", sl = "slovenian",
  kn = "kannada", et = "estonian", mk = "macedonian", br = "breton", eu = "basque", is = "icelandic", hy = "armenian", ne = "nepali",
  mn = "mongolian", bs = "bosnian", kk = "kazakh", sq = "albanian", sw = "swahili", gl = "galician", mr = "marathi", pa = "punjabi",
  si = "sinhala", km = "khmer", sn = "shona", yo = "yoruba", so = "somali", af = "afrikaans", oc = "occitan", ka = "georgian",
  be = "belarusian", tg = "tajik", sd = "sindhi", gu = "gujarati", am = "amharic", yi = "yiddish", lo = "lao", uz = "uzbek",
  fo = "faroese", ht = "haitian creole", ps = "pashto", tk = "turkmen", nn = "nynorsk", mt = "maltese", sa = "sanskrit",
  lb = "luxembourgish", my = "myanmar", bo = "tibetan", tl = "tagalog", mg = "malagasy", as = "assamese", tt = "tatar",
  haw = "hawaiian", ln = "lingala", ha = "hausa", ba = "bashkir", jw = "javanese", su = "sundanese", yue = "cantonese" }

-- English models have the same tokens as others but one, and never learned most of them.
local english_rows = 51864

local function first_of(tokenizer, ...)
  for i = 1, select("#", ...) do
    local id = tokenizer:id((select(i, ...)))
    if id then return id end
  end
end

--- The special ids of a model; raises for a tokenizer that has none of them.
---@param m Model
---@param op string
---@return table special { start=, stop=, no_speech=, no_times=, first_time=, previous=, translate=, transcribe=,
--- languages={ code → id }, multilingual=, never={ ids that no text has } }
function special.of(m, op)
  local tokenizer = m.tokenizer
  local s = { start = tokenizer:id "<|startoftranscript|>", stop = tokenizer:id "<|endoftext|>",
    no_speech = first_of(tokenizer, "<|nospeech|>", "<|nocaptions|>"), no_times = tokenizer:id "<|notimestamps|>",
    previous = tokenizer:id "<|startofprev|>", translate = tokenizer:id "<|translate|>", transcribe = tokenizer:id "<|transcribe|>",
    languages = {} }
  if not (s.start and s.stop and s.no_times) then
    raise("pairing", op, "the tokenizer has no <|startoftranscript|>, <|endoftext|> and <|notimestamps|>",
      "this task needs a model of the Whisper kind with its own tokenizer")
  end
  s.first_time = tokenizer:id "<|0.00|>" or s.no_times + 1
  for code in pairs(names) do s.languages[code] = tokenizer:id("<|" .. code .. "|>") end
  s.multilingual = rawget(m, "state_").generation.is_multilingual
  if type(s.multilingual) ~= "boolean" then s.multilingual = m.vocab_size ~= english_rows end
  s.never = { s.start, s.no_speech, s.previous, s.translate, s.transcribe, tokenizer:id "<|startoflm|>" }
  return s
end

--- The code of a language given as a code or by its name.
---@param s table what special.of gave
---@param name string
---@param op string
---@return string
function special.language(s, name, op)
  local wanted = name:lower()
  for code, own in pairs(names) do
    if (code == wanted or own == wanted) and s.languages[code] then return code end
  end
  local known = names_of(s.languages)
  for _, own in pairs(names) do known[#known + 1] = own end
  local near = core.nearest(wanted, known)
  return raise("option", op, ("option language: %q is none that the model knows"):format(name),
    near and ("did you mean %q?"):format(near) or 'give a code, such as "en"')
end

return special
