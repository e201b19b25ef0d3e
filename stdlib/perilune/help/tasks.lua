-- What pl.pipeline's tasks take and give: for the reference, `perilune help tasks`, `?tasks`. A test holds it to
-- the tasks themselves and runs the examples.
local tasks = {}

--- Options that every task takes.
tasks.common = {
  { "policy", "the order of work: pl.policy.fifo(), a function, ..." },
  { "device", "as pl.load takes it, where the model is given as a path" }, { "compute", "the same" }, { "threads", "the same" },
  { "on_progress", "function(done, total), called while a list is answered" },
}

-- Options of tasks that read an input once.
local truncate = { "truncate", '"model", a number of tokens or { to=, side=, windows=, stride= }: cut what is too long; the result has `lost`' }
local stride = { "stride", "read a long input in windows that share so many tokens" }
local function join(how) return { "join", "what windows say as one: " .. how } end
local pooling = '"mean", "cls", "last", "max", "mean_sqrt", "weighted_mean", "pooled"'

local generating = "and every option of m:generate; truncate = \"model\" drops the beginning of a prompt that is too long"

--- Tasks, in the order in which they are told: { name=, what=, heads=, input=, answer=, options={ { name, text } },
--- more=, example= }.
tasks.list = {
  { name = "text-classification", aliases = { "sentiment-analysis" }, what = "a label for a text or a pair of texts", heads = "sequence",
    input = "a text, or { text=, pair= }", answer = "{ label=, score= }; with top_k a list of these, best first",
    options = { { "top_k", 'how many labels, or "all"' }, { "function_to_apply", '"softmax", "sigmoid" or "none"; default: what config.json says' },
      truncate, stride, join '"mean" (default) or "max" of probabilities, or "vote"' },
    example = [[
local classify = pl.pipeline("text-classification", "scripts/models/reviews", { truncate = "model" })
print(classify("A great place with very good food.").label)          --> POSITIVE]] },
  { name = "token-classification", aliases = { "ner" }, what = "labels for tokens, or for the words and groups they make", heads = "token",
    input = "a text", answer = "a list of { label=, score=, word=, text=, first=, last= }: word as the tokenizer decodes it, text = input:sub(first, last)",
    options = { { "aggregation_strategy", '"none" (default: single tokens), "simple", "first", "average", "max", as published' },
      { "ignore_labels", 'labels that are left out; default { "O" }' }, truncate, stride,
      join '"mean", "max" or "vote", token by token; without it, as published: the longer of entities that overlap' },
    example = [[
local names = pl.pipeline("token-classification", "tests/golden/bert-token", { aggregation_strategy = "simple", ignore_labels = {} })
local text = "the harbour"
local found = names(text)[1]
print(found.text == text:sub(found.first, found.last))                --> true]] },
  { name = "question-answering", what = "where a context answers a question", heads = "question",
    input = "{ question=, context= }", answer = "{ answer=, score=, first=, last= }: answer = context:sub(first, last); with top_k a list",
    options = { { "top_k", "how many answers" }, { "max_answer_len", "tokens of an answer at most; default 15" },
      { "handle_impossible_answer", 'true: "" where there is no answer' }, { "align_to_words", "whole words; default true" },
        { "max_seq_len", "tokens of a window; default 384, as published" }, truncate, stride },
    example = [[
local ask = pl.pipeline("question-answering", "tests/golden/bert-question")
local context = "the old man lived near the harbour"
local found = ask { question = "where?", context = context }
print(found.answer == context:sub(found.first, found.last))           --> true]] },
  { name = "fill-mask", what = "the likeliest tokens where a text has the mask", heads = "masked",
    input = "a text with the tokenizer's mask", answer = "a list of { id=, piece=, score=, text= }; of several masks a list of such lists",
    options = { { "top_k", "how many tokens; default 5" }, { "targets", "words to choose among" }, truncate, stride,
      join '"mean" (default) or "max"' },
    example = [[
local fill = pl.pipeline("fill-mask", "tests/golden/bert-masked", { top_k = 2 })
local mask = fill.tokenizer:piece(fill.tokenizer.specials.mask)
print(#fill("the " .. mask .. " is old"))                              --> 2]] },
  { name = "zero-shot-classification", what = "labels that nobody trained, by a model of entailment", heads = "sequence",
    input = "a text, or { text=, candidate_labels= }", answer = "{ labels=, scores= }, best first",
    options = { { "candidate_labels", "the labels: a list, or a text with commas between them" }, { "hypothesis_template", '"This example is {}."' },
      { "multi_label", "true: each label by itself" }, truncate, stride, join '"mean" (default) or "max" of entailment' },
    example = [[
local m = pl.load "tests/golden/bert-sequence"
m.labels[0] = "entailment"                                            -- a model of entailment has such a label
local sort = pl.pipeline("zero-shot-classification", m, { candidate_labels = { "food", "travel" } })
print(#sort("the harbour at night").labels)                           --> 2]] },
  { name = "feature-extraction", what = "a vector for a text", heads = "base",
    input = "a text, or { text=, pair= }", answer = 'Tensor [hidden]; with pooling="none" [token, hidden]',
    options = { { "pooling", pooling .. ' or "none"; default: what the model\'s files say, else the mean' },
      { "normalize", "true: of length 1" }, truncate, stride, join '"mean" (default) or "max" of vectors' },
    example = [[
local embed = pl.pipeline("feature-extraction", "tests/golden/bert-base", { normalize = true })
print(("%.3f"):format(embed("the harbour"):norm "hidden" :item()))    --> 1.000]] },
  { name = "sentence-similarity", what = "cosines between one sentence and others", heads = "base",
    input = "{ source=, sentences={ ... } }", answer = "a list of numbers from -1 to 1",
    options = { { "pooling", pooling }, truncate, stride, join '"mean" (default) or "max" of vectors' },
    example = [[
local compare = pl.pipeline("sentence-similarity", "tests/golden/bert-base")
local cosines = compare { source = "the harbour", sentences = { "the harbour", "a cat" } }
print(("%.3f"):format(cosines[1]), #cosines)                          --> 1.000	2]] },
  { name = "image-classification", what = "labels for a picture", heads = "sequence",
    input = "a PNG or JPEG file's path or bytes, a tensor u8 [height, width, channel], or { image= }", answer = "a list of { label=, score= }, best first",
    options = { { "top_k", "how many labels; default 5" }, { "function_to_apply", '"softmax" (default), "sigmoid" or "none"' } },
    example = [[
local classify = pl.pipeline("image-classification", "tests/golden/vit-sequence", { top_k = 2 })
print(#classify "tests/golden/clip-plain/picture.png")                --> 2]] },
  { name = "zero-shot-image-classification", what = "which of some labels fits a picture, by a model such as CLIP", heads = "base",
    input = "a picture, or { image=, candidate_labels= }", answer = "{ labels=, scores= }, best first",
    options = { { "candidate_labels", "the labels: a list, or a text with commas between them" }, { "hypothesis_template", '"This is a photo of {}."' } },
    example = [[
local sort = pl.pipeline("zero-shot-image-classification", "tests/golden/clip-plain", { candidate_labels = { "cat", "dog" }, hypothesis_template = "{}" })
print(#sort("tests/golden/clip-plain/picture.png").labels)            --> 2]] },
  { name = "image-feature-extraction", what = "a vector for a picture", heads = "base", input = "a picture",
    answer = 'Tensor [hidden]; with pooling="none" [patch, hidden]',
    options = { { "pooling", '"mean", "cls", "last", "max", "pooled" or "none"; default: the family\'s (CLIP: "pooled"), else the mean' },
      { "normalize", "true: of length 1" } },
    example = [=[
local embed = pl.pipeline("image-feature-extraction", "tests/golden/clip-plain")
print(embed("tests/golden/clip-plain/picture.png").shape)             --> [hidden=24]]=] },
  { name = "text-generation", what = "a text continued", heads = "causal", input = "a text", answer = "a Result, as m:generate gives it", options = {},
    more = generating,
    example = [[
local tell = pl.pipeline("text-generation", "scripts/models/tales", { max_new_tokens = 8, do_sample = false })
print(#tell("Once upon a time").ids)                                  --> 8]] },
  { name = "chat", what = "messages answered, through the model's chat template", heads = "causal",
    input = "a text (a message of the user), or a list of messages { role=, content= }", answer = "a Result",
    options = { { "system", "a message that comes first" }, { "tools", "what the template may offer the model" },
      { "continue_final_message", "true: go on in the last message" } }, more = generating,
    example = [[
local m = pl.load "scripts/models/tales"
print(pl.try(pl.pipeline("chat", m), "Hello"))                         --> nil	chat: this tokenizer has no chat template]] },
  { name = "automatic-speech-recognition", what = "what is said in a recording of any length, with times", heads = "seq2seq",
    input = "the path of a WAV, FLAC or OGG file, samples [sample] of 16000 a second, { samples=, rate= }, or pl.sound.open(path); "
      .. "of a list eight are heard at once, each as it is alone",
    answer = "{ text=, language=, seconds=, segments={ { from=, to= (seconds), text=, ids=, words=, logprob=, no_speech=, compression=, temperature= } } }; "
      .. 'answer:format("text"|"srt"|"vtt"|"json")',
    options = { { "language", 'a code or a name; default: what it sounds like' }, { "task", '"transcribe" (default), or "translate" into English' },
      { "return_timestamps", 'true (default); "word": segments have words { from=, to=, text= }; false: no times, a window is a segment' },
      { "on_segment", "function(segment, input), called as soon as it is heard" },
      { "on_progress", "function(done, total): seconds of one recording (total: nil of a pipe); of a list how many are heard, with parts" },
      { "batch_size", "windows that are heard at once, cut where it is quiet; default 1: each begins where the last was heard to" },
      { "temperature", "tried in turn while an answer looks wrong; default { 0, 0.2, 0.4, 0.6, 0.8, 1 }" },
      { "num_beams", "beams of a search for the likeliest text, where the temperature is 0; default 1: the likeliest ids. A search does not tell no_speech" },
      { "best_of", "draws at a temperature above 0, of which the surest counts; default 5" },
      { "compression_ratio_threshold", "above it an answer repeats itself; default 2.4" },
      { "logprob_threshold", "mean below which it is not sure; default -1" },
      { "no_speech_threshold", "chance of silence above which an unsure answer is none; default 0.6" },
      { "condition_on_previous_text", "whether a window knows what was said before; default true" },
      { "initial_prompt", "a text as if it was said before: names, spellings" }, { "skip_silence", "pass over silence; default true" },
      { "follow", "the file is being written; it has ended once nothing is added for `patience` seconds (3)" }, { "patience", "see follow" },
      { "seed", "of temperatures above 0" } },
    example = [[
local m = pl.load("tests/golden/whisper-plain")                        -- the smallest there is: it has no tokenizer
print(pl.try(pl.pipeline, "automatic-speech-recognition", m))          --> nil	pipeline: the model has no tokenizer]] },
  { name = "summarization", what = "a text made short by an encoder-decoder", heads = "seq2seq", input = "a text", answer = "a Result",
    options = { { "prefix", "what stands before the text; default: what config.json says" } }, more = generating,
    example = [[
local sum_up = pl.pipeline("summarization", "tests/golden/t5-relu-tied", { max_new_tokens = 4 })
print(#sum_up("the old man lived near the harbour").ids <= 4)         --> true]] },
  { name = "translation", what = "a text in another language, by an encoder-decoder", heads = "seq2seq", input = "a text", answer = "a Result",
    options = { { "source", 'of a pair that config.json knows: source="en", target="de"' }, { "target", "the other" },
      { "prefix", "what stands before the text, said by yourself" } }, more = generating,
    example = [[
local translate = pl.pipeline("translation", "tests/golden/t5-relu-tied", { prefix = "to German: ", max_new_tokens = 4 })
print(translate("the harbour").finish_reason ~= "error")              --> true]] },
  { name = "text2text-generation", what = "what an encoder-decoder makes of a text", heads = "seq2seq", input = "a text", answer = "a Result",
    options = {}, more = generating,
    example = [[
local answer = pl.pipeline("text2text-generation", "tests/golden/t5-relu-tied", { max_new_tokens = 4 })
print(type(answer("the harbour").text))                               --> string]] },
}

local function option_lines(lines, options)
  for _, option in ipairs(options) do lines[#lines + 1] = ("    %-24s %s"):format(option[1], option[2]) end
end

--- One task, or nil.
---@param name string
---@return string|nil
function tasks.text(name)
  for _, task in ipairs(tasks.list) do
    local known = task.name == name
    for _, alias in ipairs(task.aliases or {}) do known = known or alias == name end
    if known then
      local lines = { ("%s: %s"):format(task.name, task.what), "", "  head     " .. task.heads, "  input    " .. task.input, "  answer   " .. task.answer,
        "  options" }
      option_lines(lines, task.options)
      if task.more then lines[#lines + 1] = "    " .. task.more end
      option_lines(lines, tasks.common)
      lines[#lines + 1] = "\n" .. tasks.code(task)
      return table.concat(lines, "\n")
    end
  end
end

--- A task's example, indented.
---@param task table
---@return string
function tasks.code(task) return "    " .. (task.example:gsub("\n", "\n    ")) end

--- All tasks, a line each.
---@return string
function tasks.overview()
  local lines = { "pl.pipeline(TASK, MODEL, OPTIONS) answers one input, a list, or with p:each an iterator. Tasks:", "" }
  for _, task in ipairs(tasks.list) do lines[#lines + 1] = ("  %-26s %s"):format(task.name, task.what) end
  lines[#lines + 1] = "\nperilune help TASK says what each takes and gives. In a list an input that failed is { error= }, and a result whose"
  lines[#lines + 1] = "input was cut has `lost`, the tokens that do not count."
  return table.concat(lines, "\n")
end

return tasks
