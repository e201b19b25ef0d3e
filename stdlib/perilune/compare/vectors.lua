-- Published test vectors of other projects held against tokenizers: llama.cpp's .inp and .out pairs,
-- ggml's "text => ids" lines, transformers.js's cases. They name tokenizers by their public names; this
-- file says which tokenizer file of the data folder that is.
local pl = require "perilune"
local core = require "perilune.core"
local compare_text = require "perilune.compare.text"

local compare_vectors = {}

local llama_cpp = {
  ["llama-bpe"] = "llama3/tokenizer.model", qwen2 = "qwen/qwen.tiktoken", ["roberta-bpe"] = "roberta-base/tokenizer.json",
}

local ggml = { ["gpt-2"] = "gpt2/vocab.json", ["gpt-j"] = "gpt2/vocab.json", whisper = "whisper/multilingual.tiktoken" }

local transformers_js = {
  ["Xenova/Qwen1.5-0.5B-Chat"] = "qwen/qwen.tiktoken", ["Xenova/all-distilroberta-v1"] = "roberta-base/tokenizer.json",
  ["Xenova/bert-base-cased"] = "bert-base-cased/vocab.txt", ["google-bert/bert-base-cased"] = "bert-base-cased/vocab.txt",
  ["Xenova/distilbert-base-cased-distilled-squad"] = "bert-base-cased/vocab.txt",
  ["Xenova/bert-base-uncased"] = "bert-base-uncased/tokenizer.json",
  ["Xenova/distilbert-base-uncased-finetuned-sst-2-english"] = "bert-base-uncased/tokenizer.json",
  ["Xenova/clip-vit-base-patch16"] = "clip/tokenizer.json", ["Xenova/gpt2"] = "gpt2/vocab.json",
  ["Xenova/llama-tokenizer"] = "llama2/tokenizer.json", ["Xenova/llama3-tokenizer"] = "llama3/tokenizer.model",
  ["Xenova/llama3-tokenizer-new"] = "llama3", ["Xenova/t5-small"] = "t5-small/tokenizer.json",
}

-- Vectors whose tokenizer is in the data folder in another version only: what differs.
local other_version = {
  ["Xenova/t5-tokenizer-new"] = "made with a later t5-small/tokenizer.json, which keeps spaces that this one drops",
  ["distil-whisper/distil-large-v2"] = "made with language and task tokens that this whisper/tokenizer.json does not put in",
}
-- Cases that a file cannot answer.
local damaged = { ["Xenova/llama-tokenizer"] = { text = "\194\160", why = "this llama2/tokenizer.json has lost its no-break spaces" } }

-- Runs cases { text, ids } through one tokenizer and reports what differs.
local function run(file, options, cases, name, report, hole)
  local tokenizer, err = pl.try(pl.tokenizer, file)
  if not tokenizer then
    return report.line("vectors", name, err.code == "unsupported" and "skip" or "OFF", tostring(err))
  end
  local bad = 0
  for i, case in ipairs(cases) do
    if hole and case.text:find(hole.text, 1, true) then
      report.line("vectors", "case " .. i, "skip", hole.why)
      case = { text = "", ids = tokenizer:ids "" }
    end
    local pair = case.text_pair or case.pair
    local ids, failed = pl.try(tokenizer.ids, tokenizer, pair and { text = case.text, pair = pair } or case.text, options)
    local problem = ids and compare_text.list_problem(("%q"):format(case.text:sub(1, 40)), ids, case.ids) or failed and tostring(failed)
    if problem then
      bad = bad + 1
      report.line("vectors", "case " .. i, "OFF", problem)
    end
  end
  if bad == 0 then report.line("vectors", name, "ok", #cases .. " cases equal") end
end

local function numbers(line)
  local ids = {}
  for word in line:gmatch "%d+" do ids[#ids + 1] = tonumber(word) end
  return ids
end

-- Texts between marker lines, and one line of ids a text.
local function llama_cpp_cases(path)
  local texts, cases = core.read_file(path), {}
  local separator, at = "\n__ggml_vocab_test__\n", 1
  for line in core.read_file((path:gsub("%.inp$", ".out"))):gmatch "([^\n]*)\n" do
    local first, last = texts:find(separator, at, true)
    cases[#cases + 1] = { text = texts:sub(at, (first or #texts + 1) - 1), ids = numbers(line) }
    at = last and last + 1 or #texts + 1
  end
  return cases
end

local function ggml_cases(path)
  local cases = {}
  for _, line in ipairs(compare_text.lines(path)) do
    local text, ids = line:match "^(.*) => ([%d,]+)$"
    if text then cases[#cases + 1] = { text = text, ids = numbers(ids) } end
  end
  return cases
end

local function missing(name, report)
  report.line("vectors", name, "skip", "the data folder has no tokenizer of this name")
end

--- Whether a path is one of these files.
---@param path string
---@return boolean
function compare_vectors.knows(path)
  if path:match "%.gguf%.inp$" or path:match "%.gguf%.out$" or path:match "ggml%-prompts/[^/]*%.txt$" then return true end
  return path:match "/transformers%-js/[^/]*%.json$" ~= nil
end

--- Compares one file of vectors; a .out file is read with its .inp.
---@param path string
---@param settings table { data= }
---@param report table
function compare_vectors.compare(path, settings, report)
  local name = path:match "[^/]*$"
  local tokenizers = (settings.data or path:gsub("[^/]*$", "") .. "../../../data") .. "/tokenizers/"
  if name:match "%.out$" then return end
  if name:match "%.inp$" then
    local kind = name:match "^ggml%-vocab%-(.*)%.gguf%.inp$"
    local gguf = tokenizers .. "gguf/" .. name:gsub("%.inp$", "")
    local file = core.file_exists(gguf) and gguf or (llama_cpp[kind] and tokenizers .. llama_cpp[kind])
    if not file then return missing(name, report) end
    return run(file, { special = false }, llama_cpp_cases(path), name, report)
  end
  if name:match "%.txt$" then
    local file = ggml[name:match "^(.*)%.txt$"]
    if not file then return missing(name, report) end
    return run(tokenizers .. file, { special = false }, ggml_cases(path), name, report)
  end
  local vectors = core.read_json(path)
  local file = transformers_js[vectors.tokenizer]
  if other_version[vectors.tokenizer] then return report.line("vectors", name, "skip", other_version[vectors.tokenizer]) end
  if not file then return missing(name, report) end
  run(tokenizers .. file, nil, vectors.cases, name, report, damaged[vectors.tokenizer])
end

return compare_vectors
