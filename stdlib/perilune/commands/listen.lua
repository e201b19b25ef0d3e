-- perilune listen: what is said in a recording, printed as it is heard.
local pl = require "perilune"
local core = require "perilune.core"
local command_line = require "perilune.program.command_line"
local formats = require "perilune.speech.formats"

local listen = {
  summary = "print what is said in a recording",
  usage = "perilune listen FILE [MODEL] [options]",
  options = {
    model = { value = "MODEL", help = "a folder, a file, or a known model (default whisper-tiny.en)" },
    language = { value = "NAME", help = "what is spoken: en, german, … (default: as it sounds)" },
    task = { value = "WHAT", help = "transcribe (default), or translate into English" },
    timestamps = { help = "say when: of text, before each line" },
    words = { help = "say when each word was said (in json)" },
    output = { value = "KIND", help = "text (default), srt, vtt or json" },
    prompt = { value = "TEXT", help = "names and words that may come up" },
    ["batch-size"] = { value = "N", number = true, help = "windows of a recording that are heard at once (default 1)" },
    ["follow"] = { help = "FILE is still being written" },
    ["threads"] = { value = "N", number = true, help = "processor threads (default: all this process may use)" },
    ["device"] = { value = "NAME", help = "auto, cpu, cuda, emulator" },
    ["compute"] = { value = "MODE", help = "auto, f32, bf16, or int8, which quantizes the model" },
  },
  help = "FILE is a WAV, FLAC or OGG file of any rate, or - for a WAV file on standard input. What is said is\n"
    .. "printed as it is heard, json at the end; on a terminal how far it is, too. Models: perilune get whisper-tiny.en, a folder in the published\n"
    .. "or CTranslate2's layout, a GGML file of whisper.cpp.",
}

-- All that is multiplied in codes; convolutions stay as they are.
local codes = { ["encoder.layers.*"] = "int8", ["decoder.layers.*"] = "int8", ["decoder.embed_tokens"] = "int8" }

local function misused(message) return command_line.misused(listen, message) end

local function known(kind)
  for _, name in ipairs(formats.names) do if name == kind then return true end end
  return false
end

-- Prints one segment as it is heard.
local function printer(kind, timed)
  local count = 0
  if kind == "json" then return nil end
  io.write(formats.head(kind))
  return function(segment)
    count = count + 1
    io.write(formats.segment(kind, segment, count, timed))
    io.flush()
  end
end

function listen.run(options, arguments)
  local path, kind = arguments[1], options.output or "text"
  if not path or #arguments > 2 then return misused(path and "one recording only" or "name a recording") end
  if arguments[2] and options.model then return misused "the model is named twice" end
  if not known(kind) then return misused("--output: expected " .. table.concat(formats.names, ", ") .. ", got " .. kind) end
  local name = arguments[2] or options.model or "whisper-tiny.en"
  local loading = command_line.progress "loading"
  local m = pl.load(name, { threads = options.threads, device = options.device, compute = options.compute,
    quantize = options.compute == "int8" and codes or nil,
    on_progress = loading })
  loading(nil)
  local hear = pl.pipeline("automatic-speech-recognition", m, { language = options.language, task = options.task,
    return_timestamps = options.words and "word" or true, initial_prompt = options.prompt, batch_size = options.batch_size,
    follow = options.follow, on_segment = printer(kind, options.timestamps) })
  local started = core.clock()
  local transcript = hear(path == "-" and "/dev/stdin" or path)
  if kind == "json" then io.write(transcript:format "json") end
  if core.is_tty(2) then
    local took = core.clock() - started
    io.stderr:write(("(%.0f s of sound%s in %.1f s)\n"):format(transcript.seconds, transcript.language and ", " .. transcript.language or "", took))
  end
  return command_line.ok
end

return listen
