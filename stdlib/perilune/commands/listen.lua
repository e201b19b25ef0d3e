-- perilune listen: what is said in recordings, printed as it is heard.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"
local formats = require "perilune.speech.formats"

local listen = {
  summary = "print what is said in recordings",
  usage = "perilune listen FILE... [options]",
  options = {
    model = { value = "MODEL", help = "a folder, a file, or a known model (default whisper-tiny.en)" },
    language = { value = "NAME", help = "what is spoken: en, german, … (default: as it sounds)" },
    task = { value = "WHAT", help = "transcribe (default), or translate into English" },
    timestamps = { help = "say when: of text, before each line" },
    words = { help = "say when each word was said (in json)" },
    output = { value = "KIND", help = "text (default), srt, vtt or json" },
    into = { value = "FOLDER", help = "write FOLDER/NAME.KIND for each recording instead of printing" },
    prompt = { value = "TEXT", help = "names and words that may come up" },
    ["batch-size"] = { value = "N", number = true, help = "windows of a recording that are heard at once (default 1)" },
    ["beams"] = { value = "N", number = true, help = "beams of a search for the likeliest text (default 1: the likeliest ids)" },
    ["follow"] = { help = "FILE is still being written" },
    ["threads"] = { value = "N", number = true, help = "processor threads (default: all this process may use)" },
    ["device"] = { value = "NAME", help = "auto, cpu, cuda, emulator" },
    ["compute"] = { value = "MODE", help = "auto, f32, bf16, or int8, which quantizes the model" },
  },
  help = "FILE is a WAV, FLAC or OGG file of any rate, or - for a WAV file on standard input. What is said is\n"
    .. "printed as it is heard, json at the end; on a terminal how far it is, too. Of several recordings eight are heard at once,\n"
    .. "each line says whose it is, and one that fails does not end the others. Models: perilune get whisper-tiny.en, a folder in\n"
    .. "the published or CTranslate2's layout, a GGML file of whisper.cpp.",
}

-- All that is multiplied in codes; convolutions stay as they are.
local codes = { ["encoder.layers.*"] = "int8", ["decoder.layers.*"] = "int8", ["decoder.embed_tokens"] = "int8" }

local function known(kind)
  for _, name in ipairs(formats.names) do if name == kind then return true end end
  return false
end

-- Prints each segment as it is heard, of several recordings with whose it is.
local function printer(o, several)
  if o.kind == "json" or o.into then return nil end
  local count = 0
  io.write(formats.head(o.kind))
  return function(segment, path)
    count = count + 1
    io.write(several and path .. ": " or "", formats.segment(o.kind, segment, count, o.timed))
    io.flush()
  end
end

-- The file that a recording's transcript goes to.
local function target_of(o, path)
  local name = path == "/dev/stdin" and "stdin" or (path:match "[^/]+$" or path):gsub("%.%w+$", "")
  return ("%s/%s.%s"):format(o.into, name, o.kind == "text" and "txt" or o.kind)
end

-- What is left to write of a recording once all of it was heard.
local function write_whole(o, path, transcript, several)
  local text = (o.into or o.kind == "json") and formats.whole(transcript, o.kind, o.timed, several and path or nil)
  if o.into then
    core.write_file(target_of(o, path), text)
  elseif text then
    io.write(text)
    io.flush()
  end
end

-- What is wrong with the arguments; nothing where they fit each other.
local function misfit(paths, options, o)
  local targets = {}
  if #paths == 0 then return "name a recording" end
  if not known(o.kind) then return "--output: expected " .. table.concat(formats.names, ", ") .. ", got " .. o.kind end
  if #paths > 1 and options.follow then return "--follow goes with one recording" end
  if #paths > 1 and not o.into and formats.numbered(o.kind) then
    return ("--output %s of several recordings: say --into FOLDER"):format(o.kind)
  end
  for _, path in ipairs(paths) do
    for _, name in ipairs { "config.json", "model.bin" } do
      if core.file_exists(path .. "/" .. name) then return path .. " is a model, no recording: say --model " .. path end
    end
    local target = o.into and target_of(o, path)
    if target and targets[target] then return ("%s and %s would both be written to %s"):format(targets[target], path, target) end
    if target then targets[target] = path end
  end
end

-- Every recording, its transcript or its error; of one alone how far it is, too.
local function heard(hear, paths)
  if #paths > 1 then return hear:each(paths) end
  local path = paths[1]
  return function()
    local now
    now, path = path, nil
    if now then return now, pl.try(hear, now) end
  end
end

local function load(options)
  local loading = command_line.progress "loading"
  local m = pl.load(options.model or "whisper-tiny.en", { threads = options.threads, device = options.device, compute = options.compute,
    quantize = options.compute == "int8" and codes or nil, on_progress = loading })
  loading(nil)
  return m
end

function listen.run(options, arguments)
  local paths, o = {}, { kind = options.output or "text", into = options.into, timed = options.timestamps }
  for i, path in ipairs(arguments) do paths[i] = path == "-" and "/dev/stdin" or path end
  local wrong = misfit(paths, options, o)
  if wrong then return command_line.misused(listen, wrong) end
  local several = #paths > 1
  local hear = pl.pipeline("automatic-speech-recognition", load(options), { language = options.language, task = options.task,
    return_timestamps = options.words and "word" or true, initial_prompt = options.prompt, batch_size = options.batch_size,
    num_beams = options.beams,
    follow = options.follow, on_segment = printer(o, several) })
  local started, seconds, status, language = core.clock(), 0, command_line.ok, nil
  for path, transcript, err in heard(hear, paths) do
    if transcript then
      write_whole(o, path, transcript, several)
      seconds, language = seconds + transcript.seconds, transcript.language
    else
      status = command_line.report(err)
    end
  end
  if core.is_tty(2) then
    io.stderr:write(("(%.0f s of sound%s in %.1f s)\n"):format(seconds, language and not several and ", " .. language or "", core.clock() - started))
  end
  return status
end

return listen
