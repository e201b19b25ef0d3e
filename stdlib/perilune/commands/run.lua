-- perilune run: one prompt, its text streamed to standard output.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"

local run = {
  summary = "continue one prompt",
  usage = "perilune run MODEL [PROMPT | PICTURE [LABELS]] [options]",
  options = {
    ["max-new-tokens"] = { value = "N", number = true, help = "stop after N tokens" },
    ["temperature"] = { value = "T", number = true, help = "sample; higher is wilder" },
    ["top-k"] = { value = "N", number = true, help = "sample among the N best" },
    ["top-p"] = { value = "P", number = true, help = "sample among the best that hold this share of probability" },
    ["min-p"] = { value = "P", number = true, help = "drop what is less likely than P times the best" },
    ["repetition-penalty"] = { value = "R", number = true, help = "above 1: repeat less" },
    ["greedy"] = { help = "always the most likely token" },
    ["seed"] = { value = "N", number = true, help = "the same seed gives the same text" },
    ["context"] = { value = "HOW", help = "a prompt beyond the model's positions: error or truncate_left" },
    ["stop"] = { value = "TEXT", help = "end where TEXT would begin" },
    ["threads"] = { value = "N", number = true, help = "processor threads (default: all this process may use)" },
    ["device"] = { value = "NAME", help = "auto, cpu, cuda, emulator" },
    ["compute"] = { value = "MODE", help = "auto, f32, bf16, int8" },
    ["quiet"] = { help = "no closing line on a terminal" },
  },
  help = "A model of pictures names what a PNG or JPEG file shows, CLIP which of LABELS (\"a cat, a dog\") fits it.\n"
    .. "Without PROMPT, or with \"-\", the prompt is read from standard input. What the model's\n"
    .. "generation_config.json says holds unless an option says otherwise.",
}

--- Options of m:stream from those of the command line.
---@param options table
---@return table
function run.generation_options(options)
  local chosen = {}
  for _, name in ipairs { "max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "stop", "context" } do
    chosen[name] = options[name]
  end
  if options.greedy then
    chosen.do_sample = false
  elseif options.temperature or options.top_k or options.top_p or options.min_p then
    chosen.do_sample = true
  end
  return chosen
end

--- The model that the options name a device for, with a progress line while it loads.
---@param path string
---@param options table
---@return Model
function run.load(path, options)
  local progress = command_line.progress "loading"
  local m = pl.load(path, { threads = options.threads, device = options.device, compute = options.compute, on_progress = progress })
  progress(nil)
  return m
end

-- Whether a model is asked about pictures.
local function sees(m) return rawget(m, "state_").c.axes.channel ~= nil end

-- A picture's labels, best first; the exit status.
local function name_picture(m, picture, labels)
  if not picture then return command_line.misused(run, "name a picture: a PNG or JPEG file") end
  local towers = m.head == "base" and rawget(m, "state_").family.encode_text ~= nil
  if towers and not labels then return command_line.misused(run, ('a %s model needs LABELS: "a cat, a dog"'):format(m.family)) end
  local p = pl.pipeline(towers and "zero-shot-image-classification" or "image-classification", m, { candidate_labels = towers and labels or nil })
  local answer = p(picture)
  if not towers then
    for _, one in ipairs(answer) do print(("%.3f  %s"):format(one.score, one.label)) end
  end
  for i, label in ipairs(answer.labels or {}) do print(("%.3f  %s"):format(answer.scores[i], label)) end
  return command_line.ok
end

function run.run(options, arguments)
  local path, prompt = arguments[1], arguments[2]
  if path and #arguments <= 3 and prompt and pl.files.exists(prompt) then
    local m = run.load(path, options)
    if sees(m) then return name_picture(m, prompt, arguments[3]) end
    m:close()
  end
  if not path or #arguments > 2 then
    return command_line.misused(run, path and "one prompt only (quote it)" or "name a model folder")
  end
  if not prompt or prompt == "-" then prompt = (io.read "*a"):gsub("\n$", "") end
  local m = run.load(path, options)
  if sees(m) then return name_picture(m, nil) end
  if core.is_tty(1) then io.write(prompt) end
  local stream = m:stream(prompt, run.generation_options(options))
  for piece in stream do
    io.write(piece)
    io.flush()
  end
  io.write "\n"
  local result = stream:result()
  if core.is_tty(2) and not options.quiet then
    io.stderr:write(("(%s after %d tokens, seed %s, %.0f tokens/s)\n"):format(result.finish_reason, #result.ids,
      tostring(result.seed), result.timings.tokens_per_s))
  end
  if result.finish_reason == "error" then
    io.stderr:write("perilune run: ", tostring(result.error), "\n")
    return command_line.failed
  end
  return command_line.ok
end

return run
