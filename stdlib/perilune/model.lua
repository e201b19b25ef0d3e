-- A loaded model: what it says about itself, and the calls that other files implement.
local raise = require "perilune.base.raise"
local options = require "perilune.base.options"
local names_of = require "perilune.base.names_of"
local pass_runner = require "perilune.loaded.pass_runner"
local ranks = require "perilune.loaded.ranks"
local report = require "perilune.quantization.report"
local forward = require "perilune.run.forward"
local embed = require "perilune.run.embed"
local trace = require "perilune.run.trace"
local generate = require "perilune.serve.generate"
local caches = require "perilune.loaded.cache"
local folders = require "perilune.loaded.save"
local methods = require "perilune.quantization.methods"
local moved = require "perilune.loaded.moved"
local quantized_folder = require "perilune.loaded.quantized_folder"
local weights = require "perilune.loaded.weights"

---@class Model
---@field tokenizer Tokenizer|nil its tokenizer, where the folder has one that can be read
---@field tokenizer_reason string|nil why there is no tokenizer
---@field config table config.json as read
---@field family string "llama", "gpt2", …
---@field head string which head the model runs
---@field device string where it runs; with a device_map, where what it does not name runs
---@field device_map table<string, string> where each part is: { path → device }; printed, also what it takes there and why
---@field compute string "f32", "bf16" or "int8"
---@field outliers number|nil inputs from this magnitude on are multiplied apart, so that answers depend on the batch; nil: none are
---@field threads integer threads that its passes run on
---@field cache_dtype string element type of keys and values
---@field max_tokens integer|nil positions
---@field vocab_size integer rows of the embedding
---@field labels table<integer, string>|nil class names by id, from 0
---@field warnings string[] what was odd about its files
---@field path string its folder
---@field adapters table[] list of { name=, path=, rank=, modules= (how many it changes) }, in the order they were read; empty without
---@field quantization_plan table|nil of a model quantized as "mixed": each layer's type, bytes and measured cost; prints
---@field quantization any|nil the recipe that it was quantized by here: the name of a type, or patterns → type
local Model = { __name = "Model" }

-- Fields that may be nil; anything else that is asked for and missing is a mistake.
local optional = { tokenizer = true, tokenizer_reason = true, max_tokens = true, labels = true, eager_ = true, quantization = true, quantization_plan = true,
  outliers = true }

function Model.__index(m, key)
  local method = Model[key]
  if method ~= nil and not tostring(key):find "^__" then return method end
  if optional[key] then return nil end
  local names = names_of(Model, "^__")
  for _, name in ipairs(names_of(m, "_$")) do names[#names + 1] = name end
  return raise("argument", "model", ('a Model has no field or method %s'):format(options.show(key)),
    options.unknown(key, names, "names", "Model"))
end

--- One pass over an input. `rows` says for which tokens logits are computed: "last" (default of a
--- causal head), "all" (of the others), or a list of positions for every row. Ragged answers are
--- [token, …], or [batch, …] for rows="last"; a padded input is answered in its own layout, pictures as
--- [batch, patch, …] (perilune help pictures). A text and a picture together give logits_per_image and logits_per_text.
--- A batch that another tokenizer made is refused unless it is meant: allow_foreign=true.
---
---     local m = pl.load "scripts/models/tales"
---     print(m:forward("Once upon a time").logits.shape)                     --> [batch=1, vocab=2048]
---     print(m:forward({ "Once", "The" }, { rows = "all" }).logits.shape)    --> [token=4, vocab=2048]
---@param input any text, ids, a list of either, a Batch, { ids=, mask= }, { image= | pixels= }, or { text=, image= }
---@param opts table|nil { rows=, outputs={ "logits", "hidden_states", … }, decoder=, decoder_start_token_id=, cache=,
--- adapter= (a name, or a list with one or false for each row), allow_foreign= }
---@return table { logits= Tensor, hidden_states=, pooled= Tensor, start_logits= Tensor, …, batch= Batch }
function Model:forward(input, opts) return forward.forward(self, input, opts) end

--- Runs a pass and gives back tensors on the way, by canonical path; `*` is one component. Attention
--- weights are [batch, head, query, key] for a padded input, [token, head, key] for a ragged one.
---
---     local m = pl.load "scripts/models/tales"
---     local tr = m:trace("Once upon a time", { "layers.*.attention", "norm" })
---     print(tr["layers.3.attention"].shape)                                 --> [token=5, hidden=256]
---@param input any as forward takes it
---@param paths string|string[] for instance { "layers.*.attention", "layers.3.attention.weights" }
---@param opts table|nil { rows=, decoder=, decoder_start_token_id=, allow_foreign= }
---@return Trace tr tr[path] → Tensor, tr:each() in computed order
function Model:trace(input, paths, opts) return trace.trace(self, input, paths, opts) end

--- Continues prompts: one in, one Result out; a list in, a list out. A prompt is a text, a row of ids, or a table
--- { prompt= | ids= | messages=, any option for this one }; messages are written by the model's chat template and
--- bring tok:chat's options with them (tools=, template=, continue_final_message=, …).
---
---     local m = pl.load "scripts/models/tales"
---     local one = m:generate("Once upon a time", { max_new_tokens = 8, do_sample = false })
---     local many = m:generate({ "Once", { prompt = "The", max_new_tokens = 2 } }, { max_new_tokens = 4, do_sample = false })
---     print(#one.ids, #many[1].ids, #many[2].ids)                           --> 8	4	2
---@param input any text | ids | Batch | { prompt=|ids=|messages=, any option } | list of these
---@param opts GenerateOptions|nil
---@return Result|Result[]
function Model:generate(input, opts) return generate.generate(self, input, opts) end

--- Continues one prompt piece by piece: `for piece, event in m:stream(prompt) do … end`.
---
---     local m = pl.load "scripts/models/tales"
---     local pieces = {}
---     for piece in m:stream("Once upon a time", { max_new_tokens = 8, seed = 7 }) do pieces[#pieces + 1] = piece end
---     print(#table.concat(pieces) > 0)                                      --> true
---@param input any one prompt, as generate takes it
---@param opts GenerateOptions|nil
---@return Stream s s:cancel(), s:result(); the loop's second value is an Event
function Model:stream(input, opts) return generate.stream(self, input, opts) end

--- Log-probabilities that a model gives texts; with a list of choices, each as the continuation of a prompt, or as
--- an encoder-decoder's answer to a source: a list in their order, scored without the prompt.
---
---     local m = pl.load "scripts/models/tales"
---     local tale, noise = m:score "Once upon a time", m:score "time a upon Once"
---     print(tale.perplexity < noise.perplexity)                             --> true
---
---     local list = m:score("Once upon a", { " time", " noise" })
---     print(#list, list[1].logprob > list[2].logprob)                       --> 2	true
---@param texts any a text, a row of ids, or a list of either; before choices one prompt or source
---@param choices any[]|table|nil texts or rows of ids; or opts
---@param opts table|nil { top=n, stride=n (a text beyond the model's positions is read in windows that share n tokens),
--- on_progress=function(done, total), allow_foreign= }
---@return Score|Score[]
function Model:score(texts, choices, opts) return require("perilune.serve.score").score(self, texts, choices, opts) end

--- One vector a text, from the last hidden states (an encoder-decoder's: of its encoder), as the files of
--- sentence-transformers say (pooling, normalize, prompts, max_seq_length), else the mean. A text gives
--- [hidden], a list [batch, hidden]. A text with more tokens than count raises; truncate="model" cuts it as
--- published, and the second result says how many tokens were lost; stride=n reads all of it in windows
--- that share n tokens, whose vectors become their mean or their largest numbers (join="mean"|"max")
--- before they are normalized. `prompt` names what stands before every text (false: nothing).
--- `pooling`: mean, cls, last, max, mean_sqrt, weighted_mean, pooled.
---
---     local m = pl.load "tests/golden/bert-base"
---     print(m:embed("the harbour").shape.hidden == m:embed({ "a", "b" }):size "hidden")   --> true
---     print(m:embed({ "a", "b" }):size "batch")                             --> 2
---@param texts any as forward takes it
---@param opts table|nil { pooling=, normalize=, truncate=n|"model", stride=, join="mean"|"max", prompt=name|false, on_progress=function(done, total),
--- allow_foreign= }
---@return Tensor [batch, hidden]; [hidden] of one text
---@return integer|integer[]|nil lost tokens that truncate= cut off, by text
function Model:embed(texts, opts) return embed.embed(self, texts, opts) end

--- A stage of pl.pipeline{ … }: row.batch → row.logits, row.pooled, … or, with generate=, row.result.
---
---     local m = pl.load "scripts/models/tales"
---     local p = pl.pipeline { m.tokenizer:stage {}, m:stage { rows = "last" } }
---     print(p("Once upon a time").logits.shape)                             --> [batch=1, vocab=2048]
---@param opts table|nil { from="batch", rows=, outputs=, allow_foreign=, generate={ options of m:generate } }
---@return fun(row: table): table
function Model:stage(opts) return require("perilune.pipelines.stage").model(self, opts) end

--- Keys and values that calls of forward share: `m:forward(ids, { cache = c })` continues where c ends.
---
---     local m = pl.load "scripts/models/tales"
---     local cache = m:cache()
---     m:forward({ 1, 5, 6 }, { cache = cache })
---     local other = cache:fork()                                            -- shares what is there
---     m:forward({ 7 }, { cache = other })
---     print(cache.length, other.length, cache:crop(2).length)               --> 3	4	2
---@param opts table|nil { rows=1 }
---@return Cache c c.length, c:fork(), c:crop(n), c:bytes()
function Model:cache(opts) return caches.new(self, opts) end

--- The same model, run line by line: forward and trace call the family's Lua for every op, so that a
--- script can stop in it. Same bits as the compiled run in f32.
---
---     local m = pl.load "scripts/models/tales"
---     print(m:eager():forward("The").logits:equal(m:forward("The").logits))   --> true
---@return Model
function Model:eager()
  pass_runner.open(self, "eager")
  local copy = {}
  for key, value in pairs(self) do copy[key] = value end
  copy.eager_ = true
  return setmetatable(copy, Model)
end

--- Writes the model's folder again: configurations, tokenizer and weights as they are stored. Weights that were
--- quantized here are written as their blocks, with the recipe: pl.load reads them back to the same bits.
---
---     local m = pl.load "scripts/models/tales"
---     local folder = os.tmpname() .. "-model"
---     m:save(folder)
---     print(pl.load(folder).family)                                         --> llama
---     os.execute("rm -r " .. folder)
---@param path string a folder; it is made where it is missing
---@param opts table|nil { on_progress=function(done, total) } in bytes
function Model:save(path, opts)
  local s = pass_runner.open(self, "save")
  local o = options.check(opts, { on_progress = "function" }, "save")
  if s.converted then return quantized_folder.write(s, path, { on_progress = o.on_progress }, "save") end
  if s.checkpoint:changed() then
    raise("unsupported", "save", "weights were changed by m:set_weight, and a folder is written as it is stored",
      "pl.save(file, { name = tensor }) writes tensors")
  end
  folders.copy(s.path, path, "save", { on_progress = o.on_progress })
end

--- A model with the same files whose weights are stored in fewer bits; this one stays as it is. `recipe` is the name of a
--- type for all layers, or a table of patterns → type: the longest pattern that fits a weight wins; a pattern names a module
--- with all below it (`*` within a name, a leading `*` at any depth, 0-15 for those numbers), by its canonical path or its
--- own. `type` in the table is for the layers that no pattern names. Embeddings and heads keep their type unless a pattern
--- names them (embeddings, lm_head, "*"); a head that is tied to the embedding is one weight with it. Norms and biases stay.
---
--- Types: int8 (a scale for every output, activations rounded too), int8-weight (blocks of 32), nf4 and fp4
--- (double_quantization=true: their scales in 8 bits), int4 (group=32|64|128, default the largest that divides the rows;
--- symmetric=false: with zero points), f16, bf16, f32, and GGUF's q4_0, q4_1, q5_0, q5_1, q8_0, q2_k to q6_k, iq4_nl and
--- mxfp4. Instead of its name a type may be { type=, its options }; options beside the patterns hold for all of them.
--- Weights are rounded where the model keeps them, one at a time.
---
--- Beside patterns a table may say `method`: "round" (default), "gptq" (makes up for each input's error with the others;
--- `damping`, `activation_order`) or "awq" (scales inputs that matter, where norms feed them), which look at what layers are
--- fed by a `calibration` (a text, ids, a list; of the kind that the model is for); `calibration_tokens` at most; `folder`
--- keeps finished layers, so that a killed search goes on. The type "mixed" measures what each layer costs in each type and
--- chooses within `bytes` (of all weights) or `kl` (nats a token): m.quantization_plan prints why. All of these are for
--- models that continue texts.
---
---     local m = pl.load "scripts/models/tales"
---     local small = m:quantize("int4", { compute = "f32" })
---     print(small:memory().weights < m:memory().weights)                    --> true
---     local mixed = m:quantize { ["layers.*.mlp.*"] = { type = "nf4", double_quantization = true }, lm_head = "int8" }
---     print(mixed.quantization.lm_head)                                     --> int8
---@param recipe string|table
---@param opts table|nil { compute=, on_progress=function(done, total) }; compute: as for pl.load, default: as this model was loaded
---@return Model
function Model:quantize(recipe, opts) return setmetatable(methods.fields(self, recipe, opts), Model) end

--- The same model on another device, beside this one, which stays (m:close gives its memory back): what pl.load makes of its
--- files there with the options of this one; compute="auto" chooses for the new device. Weights that m:quantize or
--- m:set_weight changed are as here, the tokenizer is the same one; hooks and caches stay behind. A model that is spread
--- by device_map is afterwards whole on the one device. Of a model that is there already it is the model itself. Raises as
--- pl.load does: an unknown device, one without room, or cache="int8" away from the CPU.
---
---     local m = pl.load "scripts/models/tales"
---     local same = m:to(m.device)
---     print(rawequal(same, m))                                              --> true
---@param device string "cpu", "cuda:0", "emulator", …: as pl.devices names them, or "auto", "cuda"
---@return Model
function Model:to(device)
  local fields = moved.fields(self, device)
  return fields and setmetatable(fields, Model) or self
end

--- A copy of a weight as f32: [output, input] of a matrix, as a layer multiplies by it. `name` is a module's
--- path or a tensor's name, with or without the file's prefix, or with the layer's canonical path.
---
---     local m = pl.load "scripts/models/tales"
---     print(m:weight("layers.0.self_attn.q_proj").shape[1].name)            --> output
---@param name string such as "layers.0.self_attn.q_proj"
---@return Tensor
function Model:weight(name) return weights.weight(self, name) end

--- Puts a tensor of the same sizes in a weight's place, in memory: for calls and requests from then on. It
--- takes the dtype that the weight is stored in.
---
---     local m = pl.load "scripts/models/tales"
---     m:set_weight("norm", m:weight "norm" * 2)
---     print(m:generate("The", { max_new_tokens = 1, do_sample = false }).finish_reason)   --> length
---@param name string as weight takes it
---@param t Tensor
---@return Model self
function Model:set_weight(name, t)
  weights.set_weight(self, name, t)
  return self
end

--- What this model lost against the one it was made from: for every layer the relative error of its weights and of what
--- it answers to the reference's own inputs, worst first, with bytes before and after; for the model the Kullback-Leibler
--- divergence of its next tokens (nats), how often its top token stays, its perplexity; of an encoder how far its answers
--- move. Prints as a table. A layer far out of line is named in `advice` with what to do.
---
---     local m = pl.load("scripts/models/tales", { compute = "bf16" })
---     local r = m:quantization_report("Once upon a time, a brave fox lived in a house.")
---     print(r.layers[1].weight_error, r.same_top)                           --> 0	1
---@param input string|integer[]|table|nil a text, ids, a list of either; default: a text that ships
---@param opts QuantizationReportOptions|nil
---@return QuantizationReport
function Model:quantization_report(input, opts) return report.make(self, input, opts) end

--- Gives the model's memory back. Calls after it raise.
---
---     local m = pl.load "scripts/models/tales"
---     m:close()
---     print(pcall(m.generate, m, "Once"))   --> false	generate: the model was closed: scripts/models/tales
function Model:close()
  pass_runner.expect(self, "Model", "close")
  local s = rawget(self, "state_")
  if s.closed then return end
  s.closed = true
  s.programs, s.plans, s.hooks, s.pool = {}, {}, {}, false
  ranks.close(s)
  s.checkpoint:close()
end

function Model.__tostring(m)
  local s = rawget(m, "state_")
  local layers = s.c.layers
  if type(layers) == "table" then layers = ("%d + %d"):format(layers.encoder, layers.decoder) end
  local compute = m.outliers and ("%s (outliers from %g apart: not batch-invariant)"):format(m.compute, m.outliers) or m.compute
  return ("Model %s, head %s, %s layers, %d embedding rows, %s positions, %s on %s%s"):format(m.family, m.head, tostring(layers),
    m.vocab_size, tostring(m.max_tokens or "any number of"), compute, table.concat(s.devices, " + "), s.closed and " (closed)" or "")
end

for _, part in ipairs { require "perilune.model_facts", require "perilune.inside.methods" } do
  for name, method in pairs(part) do Model[name] = method end
end

return Model
