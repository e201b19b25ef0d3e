-- perilune quantize: a model with its weights in fewer bits, as a folder or a GGUF file.
local pl = require "perilune"
local core = require "perilune.core"
local raise = require "perilune.base.raise"
local load = require "perilune.load"
local quantize = require "perilune.loaded.quantize"
local quantized_folder = require "perilune.loaded.quantized_folder"
local gguf_file = require "perilune.loaded.gguf_file"
local weight_types = require "perilune.loaded.weight_types"
local methods = require "perilune.quantization.methods"
local Model = require "perilune.model"
local command_line = require "perilune.program.command_line"
local byte_count = require "perilune.base.byte_count"

local verb = {
  summary = "write a model with its weights in fewer bits",
  usage = "perilune quantize IN OUT [--to TYPE] [PATTERN=TYPE …] [--recipe FILE.lua] [--group N] [--zero-points] [--double]\n"
    .. "       [--method gptq|awq --calibration FILE [--folder FOLDER]] [--bytes N | --kl X] [--no-report] [--plot FILE.svg] [--force] [--json]",
  options = {
    to = { value = "TYPE", help = "of the layers: " .. table.concat(weight_types.names(), ", ") },
    recipe = { value = "FILE.lua", help = "a file that returns the table that pl.load takes as quantize=" },
    group = { value = "N", number = true, help = "of int4: 32, 64 or 128 inputs share a scale (default: the largest that divides)" },
    ["zero-points"] = { help = "of int4: groups have a zero point" },
    double = { help = "of nf4 and fp4: scales in 8 bits" },
    method = { value = "NAME", help = "round (default), gptq or awq: roundings that look at what layers are fed" },
    calibration = { value = "FILE", help = "a text of the kind that the model is for (default: one that ships)" },
    folder = { value = "FOLDER", help = "where gptq and awq keep finished layers: killed, they go on from there" },
    bytes = { value = "N", help = "with --to mixed: what all weights may take, such as 60M" },
    kl = { value = "X", number = true, help = "with --to mixed: the divergence that may be lost, in nats a token" },
    text = { value = "FILE", help = "what the report is measured on (default: the calibration's)" },
    plot = { value = "FILE.svg", help = "draw the report: error by layer, size against loss" },
    ["no-report"] = { help = "do not measure what was lost" },
    force = { help = "write over what is there" },
    json = { help = "machine-readable" },
  },
  help = "IN is a model folder, a GGUF file or the name of a known model. OUT is a folder, which pl.load reads back to\n"
    .. "the same bits, or a file that ends with .gguf, for the types that GGUF has. Patterns are as in pl.load's quantize=,\n"
    .. "the longest that fits first; embeddings and heads keep their type unless a pattern names them:\n"
    .. "  perilune quantize smollm2 small.gguf --to q4_0 lm_head=q8_0\n"
    .. "  perilune quantize scripts/models/tales small --to int4 --group 64 'layers.0=int8-weight'",
}

local reported_tokens = 1024

local function wrong(message) return raise("option", "quantize", message) end

-- The recipe that the arguments spell.
local function read_recipe(options, arguments)
  local recipe = {}
  if options.recipe then
    local chunk, problem = loadstring(core.read_file(options.recipe), "@" .. options.recipe)
    if not chunk then wrong("option --recipe: " .. problem) end
    local given = setfenv(chunk, {})()
    if type(given) == "string" then given = { type = given } end
    if type(given) ~= "table" then
      wrong(("option --recipe: %s returns a %s, expected a table"):format(options.recipe, type(given)))
    end
    for key, value in pairs(given) do recipe[key] = value end
  end
  if options.to then recipe.type = options.to end
  if options.group then recipe.group = options.group end
  if options.zero_points then recipe.symmetric = false end
  for _, key in ipairs { "method", "folder", "bytes", "kl" } do recipe[key] = options[key] end
  if options.calibration then recipe.calibration = core.read_file(options.calibration) end
  if options.double then recipe.double_quantization = true end
  for i = 3, #arguments do
    local pattern, name = arguments[i]:match "^([^=]+)=(.+)$"
    if not pattern then
      wrong(('"%s" is no PATTERN=TYPE'):format(arguments[i]))
    end
    recipe[pattern] = name
  end
  return recipe
end

-- Why OUT may not be written; nil where it may.
local function in_the_way(out, force)
  local is_file = core.file_exists(out)
  local taken = is_file or core.folder_exists(out) and #core.list_directory(out) > 0
  if not taken or force then return nil end
  return ("%s is there already; --force writes over it"):format(out)
end

-- Shown on a terminal, in MiB.
local function progress_line(out)
  local line = command_line.progress("quantizing to " .. out .. ", MiB")
  return function(done, total)
    if done then line(math.floor(done / 2 ^ 20), math.ceil(total / 2 ^ 20)) else line(nil) end
  end
end

-- A model whose weights are packed when they are needed.
local function as_model(s, tokenizer)
  s.options = { compute = "f32" }
  return setmetatable({ state_ = s, tokenizer = tokenizer, head = s.head, compute = s.compute, device = s.device, path = s.path, family = s.family.name,
    vocab_size = s.vocab_rows, max_tokens = s.c.max_tokens, config = s.config, warnings = s.warnings }, Model)
end

-- What is to be stored: by the recipe's own types, or by a search.
local function choose(s, tokenizer, recipe, whole_blocks)
  if methods.asks(recipe) then
    local line = command_line.progress "searching, layers"
    local assignments, notes, record, plan = methods.assignments(as_model(s, tokenizer), recipe, line, whole_blocks)
    line(nil)
    return assignments, notes, record, plan
  end
  local read = quantize.read(methods.plain(recipe), "quantize")
  local assignments, notes = quantize.assign(s, read, "quantize", whole_blocks)
  return assignments, notes, methods.plain(recipe)
end

-- What was lost, on the text that is named, or the calibration's, or one that ships; nil without a tokenizer.
local function measure(s, tokenizer, options, recipe)
  if options.no_report or not tokenizer then return nil end
  local reference = pl.load(s.path, { compute = "f32", tokenizer = false, device = s.device })
  local line = command_line.progress "measuring the loss"
  local text = options.text and core.read_file(options.text) or recipe.calibration
  local report = as_model(s, tokenizer):quantization_report(text, { reference = reference, plot = options.plot, on_progress = line,
    tokens = reported_tokens })
  line(nil)
  reference:close()
  report.reference = s.path
  return report
end

-- Asked before anything is measured.
local function expect_writable(s, out)
  if out:find "%.gguf$" or not s.gguf then return end
  raise("unsupported", "quantize", s.path .. " is a GGUF file, whose tokenizer a folder has no file for", "name OUT with .gguf at its end")
end

local function write(s, tokenizer, out, tick, report)
  if out:find "%.gguf$" then return gguf_file.write(s, out, { on_progress = tick, tokenizer = tokenizer }, "quantize") end
  quantized_folder.write(s, out, { on_progress = tick, report = report and core.write_json(report) or nil }, "quantize")
  return {}
end

-- Types with how many weights have them.
local function count_types(assignments)
  local counts, names = {}, {}
  for _, one in ipairs(assignments) do
    local name = one.storage and one.storage:lower() or "scaled norm"
    if not counts[name] then names[#names + 1] = name end
    counts[name] = (counts[name] or 0) + 1
  end
  table.sort(names)
  return names, counts
end

local function tell(options, facts)
  if options.json then
    print(core.write_json(facts))
    return
  end
  local names, counts = {}, facts.types
  for name, count in pairs(counts) do names[#names + 1] = ("%d as %s"):format(count, name) end
  table.sort(names)
  print(("%s: %s of weights, before %s; %s"):format(facts.out, byte_count.text(facts.bytes), byte_count.text(facts.bytes_before),
    names[1] and table.concat(names, ", ") or "no weight changes"))
  for _, note in ipairs(facts.notes) do print("note: " .. note) end
  if facts.plan then print(facts.plan) end
  if facts.report then print(facts.report) end
end

function verb.run(options, arguments)
  local from, out = arguments[1], arguments[2]
  if not out then return command_line.misused(verb, "name a model and what to write") end
  local recipe = read_recipe(options, arguments)
  if next(recipe) == nil then return command_line.misused(verb, "say what becomes of the weights: --to TYPE, PATTERN=TYPE or --recipe") end
  local refused = in_the_way(out, options.force)
  if refused then
    io.stderr:write("perilune quantize: ", refused, "\n")
    return command_line.failed
  end
  local s, tokenizer = load.unpacked(from, { compute = "f32" }, "quantize")
  expect_writable(s, out)
  local before = quantize.stored_bytes(s)
  local assignments, notes, record, plan = choose(s, tokenizer, recipe, out:find "%.gguf$" ~= nil)
  quantize.apply(s, assignments)
  s.recipe, s.converted = record, true
  local report = measure(s, tokenizer, options, recipe)
  local tick = progress_line(out)
  local fine, err = pcall(write, s, tokenizer, out, tick, report)
  tick(nil)
  if not fine then error(err, 0) end
  for _, note in ipairs(err) do notes[#notes + 1] = note end
  local _, counts = count_types(assignments)
  local note_list = core.array {}
  for i, note in ipairs(notes) do note_list[i] = note end
  tell(options, { model = s.path, out = out, bytes = quantize.stored_bytes(s), bytes_before = before, types = counts, notes = note_list,
    report = report, plan = plan })
  s.checkpoint:close()
  return command_line.ok
end

return verb
